"""A job as one of its processes sees it: signals, lost ranks, and how it ends and says why."""

import contextlib
import datetime
import os
import re
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cnn.cluster.launchers.elastic import Membership, is_elastic
from cnn.cluster.launchers.process import Launch
from cnn.cluster.launchers.stop_signals import GRACEFUL_ONLY, signals_to_stop
from cnn.environment import STALL_SECONDS
from cnn.errors import UserError
from cnn.foreign_folder import open_to_append, read_file
from cnn.output import print_to_stderr
from cnn.shown_text import on_one_line

_SAME_REQUEST_SECONDS = 1.0
"""Signals within this time count as one request: for a Ctrl-C, the terminal and the launcher both send one."""

_DEFAULT_STALL_SECONDS = "600"

_POLL_SECONDS = 0.5
"""Interval at which a rank checks for suspended ranks and, once it is to stop, for exited ones, as it would wait for
them in vain."""

_EXITING = 4
"""Linux's process flag PF_EXITING: set while a lost process still frees its memory, its connections already closed."""

_SUSPENDED = "Tt"
"""Process states of Linux: stopped by a signal, or by a debugger."""

_PEER = re.compile(r"rank \d+ \(process \d+ on \S+\)")
"""The name of a rank in messages."""

_MAX_LOG_BYTES = 2**20

_STDOUT, _STDERR = 1, 2


class Job:
    """The state of a job in one of its processes."""

    def __init__(self, launch: Launch) -> None:
        self.rank = launch.rank
        self.begin = time.monotonic()
        """The time at which the process started its work, before it imported TensorFlow."""

        self._alone = launch.world_size == 1
        self._peers: Sequence[Sequence[Any]] = []
        self._next: int | None = None  # the process of the next rank on this host
        self._ending = threading.Lock()
        self._stoppable = False
        self._stop_time: float | None = None  # of the first request, by time.monotonic
        self.carried: Any = None
        """State that the program keeps across changes of the job's workers; its type is up to the program."""

        self.membership = Membership()
        self.folder: Path | None = None
        """The run folder, whose failure.log records why the run ended early."""

        self.resume_command = ""
        """The command that resumes the run; empty until there is one to resume."""

    @property
    def advice(self) -> str:
        """The advice to the user after an early end."""
        return f"resume with `{self.resume_command}`" if self.resume_command else "start it again"

    def fail(self, sentence: str, exit_code: int) -> NoReturn:
        """Reports the reason, records it, and ends this process immediately; the launcher then ends the others."""
        self._ending.acquire()  # never released: only the first reason is reported
        origin = "" if self._alone else f"rank {self.rank}: "
        print_to_stderr(f"error: {origin}{sentence}")
        self.record(sentence)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(exit_code)

    def ignore_failures(self) -> None:
        """Makes `fail` block from now on, as the ranks have agreed how they end."""
        self._ending.acquire()

    def record(self, sentence: str) -> None:
        """Adds a line to the run folder's failure.log."""
        if self.folder is None or not self.folder.is_dir():
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        line = on_one_line(f"{now} rank {self.rank} on {socket.gethostname()}: {sentence}") + "\n"
        path = self.folder / "failure.log"
        # A symbolic link is not followed; the reason is then only printed.
        with contextlib.suppress(OSError, UserError), open_to_append(path) as file:
            file.write(line.encode(errors="backslashreplace"))

    def has_recorded(self, lost: str) -> bool:
        """Whether the run folder's failure.log names a lost rank already that `lost`, from `lost_peers`, names."""
        if self.folder is None:
            return False
        try:
            log = read_file(self.folder / "failure.log", _MAX_LOG_BYTES).decode(errors="replace")
        except (OSError, ValueError):
            return False
        return any(f"{name} " in log for name in _PEER.findall(lost))

    def note(self, sentence: str) -> None:
        """Prints a warning, and records it in the run folder."""
        print_to_stderr(f"warning: {sentence}")
        self.record(sentence)

    def lost_peers(self) -> str:
        """Describes the ranks of this host that have exited or are suspended; empty if there are none."""
        return " and ".join(filter(None, [self._peers_in("X", "has exited", "have exited"), self._suspended_peers()]))

    def _suspended_peers(self) -> str:
        return self._peers_in(_SUSPENDED, "is suspended", "are suspended")

    def _suspended_peers_after_the_next(self) -> str:
        """As `_suspended_peers`, but empty unless the next rank of this host is suspended.

        Each rank watches the next one, and the last the first, so that with many ranks on a host not all look at all
        others twice a second. Of some that are suspended, one is watched by a rank that is not.
        """
        return self._suspended_peers() if self._next is not None and _state(self._next) in _SUSPENDED else ""

    def _peers_in(self, states: str, singular: str, plural: str) -> str:
        """Describes the ranks of this host whose state is one of `states`."""
        host = socket.gethostname()
        names = [
            f"rank {rank} (process {process} on {host})"
            for rank, (peer_host, process) in enumerate(self._peers)
            if peer_host == host and _state(process) in states
        ]
        return f"{' and '.join(names)} {singular if len(names) == 1 else plural}" if names else ""

    @contextlib.contextmanager
    def stoppable(self) -> Iterator[None]:
        """While active, the first signal only makes `stop_requested` return True; a second one ends this process.

        After the first, the program agrees with the other ranks on the step to stop at, saves, leaves the context, and
        raises StoppedError.
        """
        self._stoppable = True
        try:
            yield
        finally:
            self._stoppable = False

    def stop_requested(self) -> bool:
        """Whether a signal has requested a graceful stop."""
        return self._stop_time is not None

    def watch(self, rank: int, peers: Sequence[Sequence[Any]]) -> None:
        """Starts the thread that handles stop signals without delay, even during a compiled call.

        Launchers end the other ranks by SIGTERM when one is lost, and some follow with SIGKILL a second later: Python's
        signal handlers could run too late, so the thread reads the signal's number from a pipe.
        """
        self.set_peers(rank, peers)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        for number in signals_to_stop():
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._follow_signals, args=(reader,), daemon=True).start()

    def set_peers(self, rank: int, peers: Sequence[Sequence[Any]]) -> None:
        """Sets this process's rank, and the ranks to watch: none in an elastic job, which survives lost ranks."""
        self.rank = rank
        self._peers = [] if is_elastic() else peers
        host = socket.gethostname()
        ranks = [other for other, (peer_host, _) in enumerate(self._peers) if peer_host == host]
        self._next = None
        if len(ranks) > 1:
            self._next = self._peers[ranks[(ranks.index(rank) + 1) % len(ranks)]][1]

    def _follow_signals(self, reader: int) -> None:
        max_stall_seconds = int(os.environ.get(STALL_SECONDS, _DEFAULT_STALL_SECONDS)) or float("inf")
        stalled_polls = 0
        events = select.poll()
        events.register(reader, select.POLLIN)
        if is_elastic():
            events.register(_STDOUT, 0)  # only POLLERR and POLLHUP: its reader has closed it
        while True:
            ready = [file for file, _ in events.poll(1000 * _POLL_SECONDS)]
            number = signal.Signals(os.read(reader, 1)[0]) if reader in ready else None
            if _STDOUT in ready:
                # Either the same Ctrl-C ended the reader of the output; or the launcher on another host has exited,
                # whose ssh forwards no signals, and this counts as the request to stop.
                events.unregister(_STDOUT)
                _discard_output()
                number = number or signal.SIGUSR1
            waiting = self._stop_time is not None and self._stoppable
            lost = self.lost_peers() if waiting or (number is not None and self._stop_time is None) else ""
            if lost and self.has_recorded(lost):  # so that of hundreds of ranks not each says the same
                self._ending.acquire()
                os._exit(1)
            if lost:
                self.fail(f"{lost}, so this rank ends too; {self.advice}.", 1)
            # The launcher notices exited ranks, but nothing notices a suspended one; over MPI all would wait forever.
            suspended = self._suspended_peers_after_the_next()
            stalled_polls = stalled_polls + 1 if suspended else 0
            if stalled_polls * _POLL_SECONDS > max_stall_seconds:
                self.fail(f"{suspended}, so this rank ends; {self.advice}.", 1)
            if number is not None:
                self._handle(number)
                if not is_elastic() and _STDOUT not in ready:
                    events.register(_STDOUT, 0)

    def _handle(self, number: signal.Signals) -> None:
        now = time.monotonic()
        if self._stop_time is not None and (now - self._stop_time < _SAME_REQUEST_SECONDS or number in GRACEFUL_ONLY):
            return
        if self._stop_time is not None or not self._stoppable:
            self.fail(f"ended by {number.name}; {self.advice}.", 128 + number)
        self._stop_time = now
        if number == signal.SIGTERM and len({host for host, _ in self._peers}) > 1:
            # Perhaps a rank on another host was lost, and the launcher is ending the others: SIGKILL will follow.
            self.record(
                f"SIGTERM requested a stop; if no line follows, a rank on another host was lost; {self.advice}."
            )
        if self.rank == 0:
            print_to_stderr(f"{number.name}: stopping after this step; a second signal ends the job immediately.")


def _discard_output() -> None:
    """Redirects standard output and error to /dev/null, where printing cannot fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    for output in (_STDOUT, _STDERR):
        os.dup2(null, output)


def _state(process: int) -> str:
    """A process's state as in /proc: R, S, D, T (stopped); X if it does not exist or is exiting."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "X" if int(fields[6]) & _EXITING else fields[0]
    except (OSError, IndexError):
        return "X"
