"""Runs a program as one rank of a job: if one rank fails, all of them end, and the reason is reported once."""

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from cnn.cluster.hosts.host_mapping_check import INTENDED_HOSTS, misplacement_error
from cnn.cluster.launchers.elastic import WorkersChangedError, is_elastic, is_lost_peer_error
from cnn.cluster.launchers.left_over import contradiction, live_launch
from cnn.cluster.launchers.mpirun_process import look_for_terminal
from cnn.cluster.launchers.process import Launch, launch_from_environment
from cnn.cluster.ranks.job import Job
from cnn.environment import remove_invalid_variables
from cnn.errors import RunError, UserError, exit_on_broken_pipe, explain_resource_error
from cnn.output import flushed, ignore_lost_output, print_to_stderr, wrap_output
from cnn.quiet_import import import_tensorflow_quietly
from cnn.surroundings import use_utf8

Settings = TypeVar("Settings")

_MAX_REJOIN_ATTEMPTS = 10


def _rejoined(cluster: Any) -> Any:
    """Returns the cluster of the current workers; tries again when more are lost while they rejoin."""
    for _ in range(_MAX_REJOIN_ATTEMPTS):
        try:
            return cluster.rejoin()
        except Exception as error:
            if not is_lost_peer_error(error):
                raise
    raise RunError(f"workers were lost in each of {_MAX_REJOIN_ATTEMPTS} attempts to rejoin: find out what ends them.")


def run_job(
    parse: Callable[[], Settings],
    body: Callable[[Any, Settings, Job], None],
    is_reproducible: Callable[[Settings], bool] = lambda _: False,
) -> NoReturn:
    """Runs a program as one process of a job, and exits.

    Args:
        parse: reads the command line; a UserError of any rank is reported once.
        body: the program, called with the cluster, the settings and the job.
        is_reproducible: whether the settings demand the same bits for any number of threads, as `take_devices` needs
            to know.

    Exit code 0: done. 1: the run could not continue. 2: a user's mistake. 75: stopped on request, can be continued.
    128 + n: ended by signal n.
    """
    use_utf8()
    wrap_output()
    try:
        launch = live_launch(launch_from_environment(os.environ), os.environ)
    except UserError as error:
        print_to_stderr(f"error: {error}")
        sys.exit(error.exit_code)
    job, cluster = Job(launch), None
    look_for_terminal(launch, os.environ)
    try:
        settings, mistake = _read_settings(parse, launch, job)
        import_tensorflow_quietly()
        from cnn.cluster.ranks.collectives import Cluster  # TensorFlow and Horovod: seconds, which --help does not need

        cluster = Cluster(launch, reproducible=settings is not None and is_reproducible(settings))
        job.watch(cluster.rank, cluster.peers)
        while True:
            try:
                placed = misplacement_error([host for host, _ in cluster.peers], os.environ.get(INTENDED_HOSTS))
                cluster.agree(mistake or cluster.devices.mistake or placed)
                with flushed():
                    body(cluster, settings, job)  # type: ignore[arg-type]  # not None, as there was no mistake
                break
            except Exception as error:
                if not (isinstance(error, WorkersChangedError) or (is_elastic() and is_lost_peer_error(error))):
                    raise
            cluster = _rejoined(cluster)
            job.membership.refresh()
            job.set_peers(cluster.rank, cluster.peers)
        cluster.close()
    except RunError as error:
        _end_agreed(error, job, cluster)
    except BrokenPipeError:
        job.record(f"the reader of the output has exited; {job.advice}.")
        exit_on_broken_pipe()
    except Exception as error:  # whatever it is, the other ranks must not wait for this one
        _end_alone(error, job)
    sys.exit(0)


def _read_settings(parse: Callable[[], Settings], launch: Launch, job: Job) -> tuple[Settings | None, UserError | None]:
    """Reads the settings; a lone process reports a mistake itself, one of several returns it."""
    wrong = remove_invalid_variables(os.environ, horovod=launch.controller != "none")
    contradicting = contradiction(launch.controller, os.environ)
    try:
        # --help, for example, prints the same in every rank.
        with flushed(), contextlib.nullcontext() if launch.rank == 0 else contextlib.redirect_stdout(io.StringIO()):
            settings = parse()
        if wrong:
            raise UserError(wrong)
        return settings, contradicting
    except UserError as error:
        if launch.world_size == 1:
            job.fail(str(error), error.exit_code)
        return None, error


def _end_agreed(error: RunError, job: Job, cluster: Any) -> NoReturn:
    """Ends all ranks together if all raised this error, else this one immediately."""
    if not error.agreed:
        job.fail(str(error), error.exit_code)
    job.ignore_failures()
    if job.rank == 0:
        print_to_stderr(f"{error.label}: {error}")
        job.record(str(error))
    with contextlib.suppress(Exception):
        cluster.gather(None)  # a barrier: once a rank exits, the launcher would end one that still saves
    cluster.close()
    ignore_lost_output()
    sys.exit(error.exit_code)


def _end_alone(error: Exception, job: Job) -> NoReturn:
    """Ends this rank, and reports why."""
    explained = explain_resource_error(error, job.folder, f"; then {job.advice}")
    if explained is not None:
        job.fail(str(explained), explained.exit_code)
    lost = job.lost_peers()
    if lost or is_lost_peer_error(error):
        job.fail(f"{lost or 'another rank was lost'}; {job.advice}.", 1)
    traceback.print_exc()
    job.fail(f"{type(error).__name__}: {error}".splitlines()[0], 1)
