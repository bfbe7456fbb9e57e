"""One failure, one end: runs a job's program so that what ends one rank ends all of them, and says why once."""

import contextlib
import datetime
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from cnn.cluster.elastic import Membership, WorkersChangedError, is_elastic, tells_of_a_lost_peer
from cnn.cluster.left_over import contradiction, still_running
from cnn.cluster.placement import PLACEMENT, misplacement
from cnn.cluster.process import Launch, launch_from_environment
from cnn.cluster.stop_signals import ONLY_ASKING, signals_to_stop
from cnn.environment import STALL_SECONDS, remove_invalid_variables
from cnn.errors import RunError, UserError, exit_on_broken_pipe, explain_resource_error
from cnn.foreign_folder import open_to_append
from cnn.output import flushed, ignore_lost_output, print_to_stderr, wrap_output
from cnn.quiet_import import import_tensorflow_quietly
from cnn.shown_text import on_one_line
from cnn.surroundings import use_utf8

Settings = TypeVar("Settings")

_SAME_SECONDS = 1.0
"""Signals that come within this time are one: a terminal and a launcher both send one for a Ctrl-C."""

_STALL_SECONDS = "600"

_MAX_LOSSES_AT_ONCE = 10

_LOOK_SECONDS = 0.5
"""How often a rank looks whether others stand still, or, when it is to stop, have gone: it would wait in vain."""

_EXITING = 4
"""Linux's PF_EXITING, among a process's flags: it still runs, to give its memory back, when others know it is lost."""

_OUTPUT, _ERRORS = 1, 2
"""File descriptors."""


class Job:
    """What a program knows of the job that it is one process of."""

    def __init__(self, launch: Launch) -> None:
        self.rank = launch.rank
        self._alone = launch.world_size == 1
        self._peers: Sequence[Sequence[Any]] = []
        self._ending = threading.Lock()
        self._stoppable = False
        self._asked: float | None = None
        self.carried: Any = None
        """What the program keeps for the time after a change of the job's workers, of which only it knows the type."""

        self.membership = Membership()
        self.folder: Path | None = None
        """Where failure.log gets the reason of an early end; from then on the program can be resumed."""

    @property
    def advice(self) -> str:
        """What to do when it was ended before its time."""
        return "start it again" if self.folder is None else "go on with --resume"

    def fail(self, sentence: str, exit_code: int, *, speak: bool = True) -> NoReturn:
        """Says why, here and in the run folder, and ends this process at once; the launcher then ends the others."""
        self._ending.acquire()  # never released: the first reason is the one that is told
        if speak:
            origin = "" if self._alone else f"rank {self.rank}: "
            print_to_stderr(f"error: {origin}{sentence}")
        self.record(sentence)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(exit_code)

    def settle(self) -> None:
        """From now on what others do no longer ends this process: how it ends is agreed."""
        self._ending.acquire()

    def record(self, sentence: str) -> None:
        """Adds a line to the run folder's failure.log."""
        if self.folder is None or not self.folder.is_dir():
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        line = on_one_line(f"{now} rank {self.rank} on {socket.gethostname()}: {sentence}") + "\n"
        path = self.folder / "failure.log"
        # A link is not followed; then the reason is only shown.
        with contextlib.suppress(OSError, UserError), open_to_append(path) as file:
            file.write(line.encode(errors="backslashreplace"))

    def note(self, sentence: str) -> None:
        """Says what is not as it should be, here and in the run folder, and does not end anything."""
        print_to_stderr(f"warning: {sentence}")
        self.record(sentence)

    def lost_peers(self) -> str:
        """Says which ranks of this host have gone or stand still; empty when none does."""
        return " and ".join(filter(None, [self._peers_in("X", "has gone", "have gone"), self._still_peers()]))

    def _still_peers(self) -> str:
        return self._peers_in("Tt", "stands still", "stand still")

    def _peers_in(self, states: str, one: str, several: str) -> str:
        """Says which ranks of this host are in one of some states."""
        host = socket.gethostname()
        names = [
            f"rank {rank} (process {process} on {host})"
            for rank, (where, process) in enumerate(self._peers)
            if where == host and _state(process) in states
        ]
        return f"{' and '.join(names)} {one if len(names) == 1 else several}" if names else ""

    @contextlib.contextmanager
    def stoppable(self) -> Iterator[None]:
        """Inside, the first signal only asks to stop, which `stop_requested` tells.

        Who is asked agrees with the other ranks on where to stop, saves, and raises StoppedError outside. A second
        signal ends this process at once.
        """
        self._stoppable = True
        try:
            yield
        finally:
            self._stoppable = False

    def stop_requested(self) -> bool:
        """Whether a signal came while this was stoppable."""
        return self._asked is not None

    def watch(self, rank: int, peers: Sequence[Sequence[Any]]) -> None:
        """From now on the signals that ask to stop end this process within moments, even in a compiled call.

        Launchers end the other ranks by SIGTERM when one is lost, and some follow with SIGKILL a second later: Python's
        own handlers would run too late, so the signal's number is read from a pipe by a thread.
        """
        self.watch_others(rank, peers)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        for number in signals_to_stop():
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._follow_signals, args=(reader,), daemon=True).start()

    def watch_others(self, rank: int, peers: Sequence[Sequence[Any]]) -> None:
        """Takes these for the job's ranks, and this one's place among them for its own. Where lost ones are replaced,
        their loss is no reason to end."""
        self.rank = rank
        self._peers = [] if is_elastic() else peers

    def _follow_signals(self, reader: int) -> None:
        patience = int(os.environ.get(STALL_SECONDS, _STALL_SECONDS)) or float("inf")
        looks = 0
        events = select.poll()
        events.register(reader, select.POLLIN)
        if is_elastic():
            events.register(_OUTPUT, 0)  # tells only of its end
        while True:
            came = [file for file, _ in events.poll(1000 * _LOOK_SECONDS)]
            number = signal.Signals(os.read(reader, 1)[0]) if reader in came else None
            if _OUTPUT in came:
                # What reads the output was ended by the same Ctrl-C; or the launcher on another host has gone, whose
                # ssh does not pass signals on, and this asks to stop instead.
                events.unregister(_OUTPUT)
                _speak_to_nobody()
                number = number or signal.SIGUSR1
            waiting = self._asked is not None and self._stoppable
            lost = self.lost_peers() if waiting or (number is not None and self._asked is None) else ""
            if lost:
                self.fail(f"{lost}, so this rank had to end too; {self.advice}.", 1)
            # Of lost ranks the launcher tells; of one that stands still nobody, and over MPI all would wait for ever.
            still = self._still_peers()
            looks = looks + 1 if still else 0
            if looks * _LOOK_SECONDS > patience:
                self.fail(f"{still}, so this rank ends; {self.advice}.", 1)
            if number is not None:
                self._take(number)
                if not is_elastic() and _OUTPUT not in came:
                    events.register(_OUTPUT, 0)

    def _take(self, number: signal.Signals) -> None:
        now = time.monotonic()
        if self._asked is not None and (now - self._asked < _SAME_SECONDS or number in ONLY_ASKING):
            return
        if self._asked is not None or not self._stoppable:
            self.fail(f"ended by {number.name}; {self.advice}.", 128 + number)
        self._asked = now
        if number == signal.SIGTERM and len({host for host, _ in self._peers}) > 1:
            # The launcher may be ending the others of a rank that has gone on another host, and SIGKILL will follow.
            self.record(
                f"asked to stop by SIGTERM; if nothing follows, a rank of another host has gone; {self.advice}."
            )
        if self.rank == 0:
            print_to_stderr(f"{number.name}: stopping after this step; a second one ends at once.")


def _speak_to_nobody() -> None:
    """From now on what is printed goes nowhere, instead of failing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (_OUTPUT, _ERRORS):
        os.dup2(nowhere, output)


def _state(process: int) -> str:
    """A process's state as /proc has it: R, S, D, T (stopped); X when there is none, or it is at its end."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "X" if int(fields[6]) & _EXITING else fields[0]
    except (OSError, IndexError):
        return "X"


def _rejoined(cluster: Any) -> Any:
    """The cluster of the workers that there are now; more may go while they gather."""
    for _ in range(_MAX_LOSSES_AT_ONCE):
        try:
            return cluster.rejoin()
        except Exception as error:
            if not tells_of_a_lost_peer(error):
                raise
    raise RunError("workers go faster than the others can gather: look at what ends them.")


def run_job(parse: Callable[[], Settings], body: Callable[[Any, Settings, Job], None]) -> NoReturn:
    """Runs a program as one process of a job, and exits.

    Args:
        parse: reads the command line; a UserError is told once, whichever rank it comes from.
        body: the program, called with the cluster, the settings and the job.

    Exit code 0: done. 1: the run could not go on. 2: the user's mistake. 75: stopped when asked to, to go on later.
    128 + n: ended by signal n, or as by it.
    """
    use_utf8()
    wrap_output()
    try:
        launch = still_running(launch_from_environment(os.environ), os.environ)
    except UserError as error:
        print_to_stderr(f"error: {error}")
        sys.exit(error.exit_code)
    job, cluster = Job(launch), None
    try:
        settings, mistake = _read_settings(parse, launch, job)
        import_tensorflow_quietly()
        from cnn.cluster.collectives import Cluster  # TensorFlow and Horovod: seconds that --help need not wait

        cluster = Cluster(launch)
        job.watch(cluster.rank, cluster.peers)
        while True:
            try:
                placed = misplacement([host for host, _ in cluster.peers], os.environ.get(PLACEMENT))
                cluster.agree(mistake or cluster.devices.mistake or placed)
                with flushed():
                    body(cluster, settings, job)  # type: ignore[arg-type]  # without a mistake there are settings
                break
            except Exception as error:
                if not (isinstance(error, WorkersChangedError) or (is_elastic() and tells_of_a_lost_peer(error))):
                    raise
            cluster = _rejoined(cluster)
            job.membership.settle()
            job.watch_others(cluster.rank, cluster.peers)
        cluster.close()
    except RunError as error:
        _end_agreed(error, job, cluster)
    except BrokenPipeError:
        job.record(f"what read the output has gone; {job.advice}.")
        exit_on_broken_pipe()
    except Exception as error:  # whatever it is, the other ranks must not wait for this one
        _end_alone(error, job)
    sys.exit(0)


def _read_settings(parse: Callable[[], Settings], launch: Launch, job: Job) -> tuple[Settings | None, UserError | None]:
    """The settings, or what is wrong with them or the environment: of several ranks one is to tell it."""
    wrong = remove_invalid_variables(os.environ, horovod=launch.controller != "none")
    contradicting = contradiction(launch.controller, os.environ)
    try:
        with flushed():
            settings = parse()
        if wrong:
            raise UserError(wrong)
        return settings, contradicting
    except UserError as error:
        if launch.world_size == 1:
            job.fail(str(error), error.exit_code)
        return None, error


def _end_agreed(error: RunError, job: Job, cluster: Any) -> NoReturn:
    """Ends all ranks together, if they all have this error, and else this one at once."""
    if not error.agreed:
        job.fail(str(error), error.exit_code)
    job.settle()
    if job.rank == 0:
        print_to_stderr(f"{error.label}: {error}")
        job.record(str(error))
    with contextlib.suppress(Exception):
        cluster.gather(None)  # nobody leaves before: a launcher would end the rank that still saves
    cluster.close()
    ignore_lost_output()
    sys.exit(error.exit_code)


def _end_alone(error: Exception, job: Job) -> NoReturn:
    """Ends this rank, and says why."""
    explained = explain_resource_error(error, job.folder, f"; then {job.advice}")
    if explained is not None:
        job.fail(str(explained), explained.exit_code)
    lost = job.lost_peers()
    if lost or tells_of_a_lost_peer(error):
        job.fail(f"{lost or 'another rank has gone'}; {job.advice}.", 1)
    traceback.print_exc()
    job.fail(f"{type(error).__name__}: {error}".splitlines()[0], 1)
