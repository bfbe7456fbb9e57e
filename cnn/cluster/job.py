"""One failure, one end: runs a job's program so that what ends one rank ends all of them, and says why once."""

import contextlib
import datetime
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from cnn.cluster.launch import Launch, launch_from_environment
from cnn.errors import RunError, UserError, end_unread
from cnn.quiet_import import import_tensorflow_quietly

Settings = TypeVar("Settings")


class Job:
    """What a program knows of the job that it is one process of."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._peers: Sequence[Sequence[Any]] = []
        self._ending = threading.Lock()
        self.folder: Path | None = None
        """The run folder, once there is one: the reason of an early end is written there, in failure.log."""

    @property
    def advice(self) -> str:
        """What to do when it was ended before its time."""
        return "start it again" if self.folder is None else "go on with --resume"

    def fail(self, sentence: str, exit_code: int, *, speak: bool = True) -> NoReturn:
        """Says why, here and in the run folder, and ends this process at once; the launcher then ends the others."""
        self._ending.acquire()  # never released: the first reason is the one that is told
        if speak:
            origin = f"rank {self._launch.rank}: " if self._launch.world_size > 1 else ""
            print(f"error: {origin}{sentence}", file=sys.stderr, flush=True)
        self.record(sentence)
        sys.stdout.flush()
        os._exit(exit_code)

    def record(self, sentence: str) -> None:
        """Adds a line to the run folder's failure.log."""
        if self.folder is None or not self.folder.is_dir():
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        line = f"{now} rank {self._launch.rank} on {socket.gethostname()}: {sentence}\n"
        with contextlib.suppress(OSError), open(self.folder / "failure.log", "a", encoding="utf-8") as file:
            file.write(line)

    def lost_peers(self) -> str:
        """Says which ranks of this host have gone; empty when none has."""
        host = socket.gethostname()
        gone = [
            f"rank {rank} (process {process} on {host})"
            for rank, (where, process) in enumerate(self._peers)
            if where == host and not _is_running(process)
        ]
        return f"{' and '.join(gone)} {'has' if len(gone) == 1 else 'have'} gone" if gone else ""

    def watch(self, peers: Sequence[Sequence[Any]]) -> None:
        """From now on SIGTERM and SIGINT end this process within moments, even in the middle of a compiled call.

        Launchers end the other ranks by SIGTERM when one is lost, and some follow with SIGKILL a second later: Python's
        own handlers would run too late, so the signal's number is read from a pipe by a thread.
        """
        self._peers = peers
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._end_on_signal, args=(reader,), daemon=True).start()

    def _end_on_signal(self, reader: int) -> None:
        number = os.read(reader, 1)[0]
        name = signal.Signals(number).name
        lost = self.lost_peers()
        if lost:
            self.fail(f"{lost}, so the launcher ended this rank ({name}); {self.advice}.", 1)
        self.fail(f"ended by {name}; {self.advice}.", 128 + number)


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


def run_job(parse: Callable[[], Settings], body: Callable[[Any, Settings, Job], None]) -> NoReturn:
    """Runs a program as one process of a job, and exits.

    Args:
        parse: reads the command line; a UserError is told once, whichever rank it comes from.
        body: the program, called with the cluster, the settings and the job.

    Exit code 0: done. 1: the run could not go on. 2: the user's mistake. 128 + n: ended by signal n, or as by it.
    """
    try:
        launch = launch_from_environment(os.environ)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    job = Job(launch)
    settings, mistake = None, None
    try:
        settings = parse()
    except UserError as error:
        mistake = error
        if launch.world_size == 1:
            job.fail(str(error), error.exit_code)
    import_tensorflow_quietly()
    from cnn.cluster.collectives import Cluster  # TensorFlow and Horovod: seconds that --help need not wait

    try:
        cluster = Cluster(launch)
        job.watch(cluster.peers)
        cluster.agree(mistake)
        body(cluster, settings, job)  # type: ignore[arg-type]  # without a mistake there are settings
        cluster.close()
    except RunError as error:
        if not error.agreed:
            job.fail(str(error), error.exit_code)
        if launch.rank == 0:
            print(f"error: {error}", file=sys.stderr, flush=True)
            job.record(str(error))
        cluster.close()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        job.record(f"what read the output has gone; {job.advice}.")
        end_unread()
    except Exception as error:  # whatever it is, the other ranks must not wait for this one
        lost = job.lost_peers()
        if lost or "Horovod" in str(error):
            job.fail(f"{lost or 'another rank has gone'}; {job.advice}.", 1)
        traceback.print_exc()
        job.fail(f"{type(error).__name__}: {error}".splitlines()[0], 1)
    sys.exit(0)
