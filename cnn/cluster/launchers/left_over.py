"""Launchers' environment variables that do not apply to this process: of an ended job, or of an enclosing one."""

import contextlib
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping

from cnn.cluster.launchers.other_launchers import refuse_other_launchers
from cnn.cluster.launchers.process import ALONE, Launch, launch_from_environment
from cnn.errors import UserError

_TIMEOUT_SECONDS = 10.0

_RANK_VARIABLES = re.compile(
    r"OMPI_(COMM_WORLD|FILE_LOCATION|FIRST_RANKS|APP_CTX|NUM_APP|UNIVERSE|COMMAND|ARGV)|PMIX_|OPAL_PREFIX"
    r"|OMPI_MCA_(ess|pmix|initial_wdir|mpi_oversubscribe|shmem_RUNTIME)"
    r"|OMPI_MCA_orte_(app_num|bound_at|ess|hnp_uri|jobfam|launch|local_daemon|num_nodes|precondition|top_session)"
    r"|HOROVOD_(RANK|SIZE|LOCAL_|CROSS_|GLOO_RENDEZVOUS|GLOO_IFACE|HOSTNAME|CONTROLLER|CPU_OPERATIONS|ELASTIC)"
)
"""The variables by which mpirun and horovodrun assign ranks; a launcher must not inherit those of another job."""

_RANK = {
    "OMPI": "OMPI_COMM_WORLD_RANK",
    "PMIX": "OMPI_COMM_WORLD_RANK",
    "OPAL": "OMPI_COMM_WORLD_RANK",
    "HOROVOD": "HOROVOD_RANK",
}
"""By prefix of a variable's name, the variable whose presence shows that a launcher set it, not the user."""

_DECIDED = ("HOROVOD_CONTROLLER", "HOROVOD_CPU_OPERATIONS")
"""The variables for the controller. The launcher decides it: Horovod crashes if they contradict the launcher."""


def live_launch(launch: Launch, environ: Mapping[str, str]) -> Launch:
    """Returns the launch if its launcher still runs; ALONE if it was an mpirun of one process, which has ended.

    Raises:
        UserError: any other launcher has ended, so that Horovod would wait in vain.
    """
    if launch.controller == "none" or any(map(_answers, _servers(launch, environ))):
        return launch
    if launch.controller == "mpi" and launch.world_size == 1:
        return ALONE
    name, variable = (
        ("mpirun", "OMPI_COMM_WORLD_SIZE") if launch.controller == "mpi" else ("horovodrun", "HOROVOD_SIZE")
    )
    raise UserError(
        f"{variable}={launch.world_size} is left over from a {name} that has ended or cannot be reached: start the "
        f"job with {name} of .venv/bin or launch/{name}.sh, or this process from a new shell."
    )


def contradiction(controller: str, environ: Mapping[str, str]) -> UserError | None:
    """Returns the error if the environment requests another controller than the launcher's, None otherwise."""
    for name in _DECIDED:
        requested = environ.get(name, "").strip().lower()
        if controller != "none" and requested not in ("", controller):
            return UserError(
                f"{name} is {environ[name]}, but the launcher connects these ranks by {controller}: unset it, or start "
                "them with launch/mpirun.sh for mpi, launch/horovodrun.sh for gloo."
            )
    return None


def set_controller(controller: str, environ: MutableMapping[str, str]) -> None:
    """Makes Horovod use the launcher's controller."""
    environ.update(dict.fromkeys(_DECIDED, controller))


def prepare_launch(environ: MutableMapping[str, str], controller: str, *, interactive: bool) -> None:
    """Prepares the environment for starting a job: removes the variables that assign a rank.

    Args:
        environ: the environment.
        controller: the controller of the job to start, mpi or gloo.
        interactive: whether a user started this process at a terminal, and so only once, even if a launcher started
            the shell.

    Raises:
        UserError: this process is one of several, each of which would start a job; or the environment requests another
            controller.
    """
    ranks = 1
    with contextlib.suppress(UserError):  # incomplete variables, or an ended launcher: they are removed below
        ranks = live_launch(launch_from_environment(environ), environ).world_size
    if ranks > 1:
        raise UserError(
            f"each of {ranks} ranks would start a separate job: call this launcher once, and not by another one."
        )
    _remove_rank_variables(environ)
    if not interactive:
        refuse_other_launchers(environ)
    if contradicting := contradiction(controller, environ):
        raise contradicting


def refuse_ranks(environ: Mapping[str, str]) -> None:
    """Checks that a program that works in one process is not started by a launcher as several.

    Raises:
        UserError: it is; on rank 0 only, and the others wait until the launcher ends them.
    """
    launch = ALONE
    with contextlib.suppress(UserError):  # an ended launcher
        launch = live_launch(launch_from_environment(environ), environ)
    if launch.world_size == 1:
        return
    if launch.rank:
        time.sleep(_TIMEOUT_SECONDS)  # the first rank that ends makes mpirun end all, perhaps before rank 0 has printed
        sys.exit(UserError.exit_code)
    raise UserError(
        f"{launch.world_size} processes were started, but this program works in one, and all would write the same "
        "files: start it without mpirun or horovodrun."
    )


def _remove_rank_variables(environ: MutableMapping[str, str]) -> None:
    names = [name for name in environ if _RANK_VARIABLES.match(name) and _RANK[name.partition("_")[0]] in environ]
    for name in names:
        del environ[name]


def _servers(launch: Launch, environ: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """The addresses and ports where the launcher, or its daemon on this host, listens."""
    if launch.controller == "gloo":
        port = environ.get("HOROVOD_GLOO_RENDEZVOUS_PORT", "")
        if port.isdecimal():
            yield re.split("[:/]", environ.get("HOROVOD_GLOO_RENDEZVOUS_ADDR", ""))[0], int(port)
        return
    for name, value in environ.items():
        found = re.search(r"tcp4://([0-9.]+):([0-9]+)", value) if name.startswith("PMIX_SERVER_URI") else None
        if found:
            yield found[1], int(found[2])


def _answers(server: tuple[str, int]) -> bool:
    """Whether a process listens there, even if it is too busy to accept."""
    try:
        with socket.create_connection(server, _TIMEOUT_SECONDS):
            return True
    except TimeoutError:
        return True
    except (OSError, OverflowError, UnicodeError):
        return False
