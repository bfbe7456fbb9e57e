"""Runs mpirun or horovodrun so that whoever ends it gives the ranks the time to save what they have."""

import contextlib
import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

import psutil

from cnn.cluster.stop_signals import GRACEFUL_ONLY, signals_to_stop
from cnn.errors import StoppedError

_PR_SET_PDEATHSIG = 1
_ENDED_BY_US = tuple(128 + number for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL))
"""Exit codes of what a signal ended that is sent from here."""


def run_mpirun(command: Sequence[str]) -> NoReturn:
    """Does what the command does, and exits with its exit code.

    mpirun hands SIGUSR1 on to all ranks, which then stop in good order; SIGTERM and SIGINT it follows with SIGKILL
    after a fixed time, host after host. So the first request to end is sent on as SIGUSR1, a second one as SIGTERM.
    """
    _run(command, lambda process: process.send_signal(signal.SIGUSR1))


def run_horovodrun(command: Sequence[str], program: Sequence[str], *, elastic: bool = False) -> NoReturn:
    """Does what the command does, and exits with its exit code.

    horovodrun hands no signal on; after SIGTERM it cuts the ssh of other hosts, and kills in five seconds. So the first
    request to end goes as SIGUSR1 to a rank on this host, which stops all others with it, and a second one to
    horovodrun; so does the first where there is no such rank.

    Args:
        command: what starts horovodrun.
        program: the command line of a rank.
        elastic: whether the job goes on without a rank that is lost, as the one that is asked is when it does not train
            yet: so horovodrun is ended as soon as that rank has. Its exit code may be 0 then, though nothing is done.
    """

    def ask_a_rank(process: "subprocess.Popen[bytes]") -> None:
        rank = _descendant(process.pid, program)
        if rank is not None:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ends just now
                rank.send_signal(signal.SIGUSR1)
                if elastic:
                    rank.wait()
        if rank is None or elastic:
            process.terminate()

    _run(command, ask_a_rank, code_for_0=StoppedError.exit_code if elastic else 0)


def _descendant(pid: int, command: Sequence[str]) -> psutil.Process | None:
    """The first process that was started by this one, or by those it started, with exactly this command."""
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline() == list(command):
                return process
    return None


def _run(command: Sequence[str], ask: Callable[["subprocess.Popen[bytes]"], None], *, code_for_0: int = 0) -> NoReturn:
    """As told above; `code_for_0` is what to exit with where a command that was asked to end exits with 0."""
    # In a session of its own: what is typed at the terminal comes to this program alone.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_parent)
    asked = 0

    def send_on(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        again, asked = asked, asked or number  # before it is sent: the next signal may come meanwhile
        if again and number not in GRACEFUL_ONLY:
            process.terminate()
        else:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                ask(process)

    for number in signals_to_stop():
        signal.signal(number, send_on)
    code = process.wait()
    if asked and code == 0:
        sys.exit(code_for_0)
    code = code if code >= 0 else 128 - code
    # Ranks that did not train yet were ended by what the signal was sent on as.
    sys.exit(128 + asked if asked and code in _ENDED_BY_US else code)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
