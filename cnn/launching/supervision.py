"""Runs mpirun or horovodrun so that a request to stop leaves the ranks time to save a checkpoint."""

import contextlib
import ctypes
import itertools
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

import psutil

from cnn.cluster.launchers.stop_signals import GRACEFUL_ONLY, signals_to_stop
from cnn.errors import StoppedError

_PR_SET_PDEATHSIG = 1
_FORWARDED_CODES = tuple(128 + number for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL))
"""Exit codes of processes ended by a signal that this module sends."""
_SECONDS_TO_BE_REAPED = 5
"""Time for the processes between horovodrun and a rank to end after that rank."""


def run_mpirun(command: Sequence[str]) -> NoReturn:
    """Runs the command, and exits with its exit code.

    mpirun forwards SIGUSR1 to all ranks, which then stop gracefully; after SIGTERM and SIGINT it sends SIGKILL after a
    fixed time, host by host. So the first request to stop is forwarded as SIGUSR1, a second one as SIGTERM.
    """
    _run(command, lambda process: process.send_signal(signal.SIGUSR1))


def run_horovodrun(command: Sequence[str], program: Sequence[str], *, elastic: bool = False) -> NoReturn:
    """Runs the command, and exits with its exit code.

    horovodrun forwards no signals; after SIGTERM it closes the ssh connections to other hosts, and sends SIGKILL after
    five seconds. So the first request to stop is sent as SIGUSR1 to a rank on this host, which makes all ranks stop. If
    there is no such rank, it is sent to horovodrun: as SIGUSR1 in an elastic job, which then ends after its ranks, and
    else as SIGTERM. A second request is always sent to horovodrun as SIGTERM.

    Args:
        command: the command that starts horovodrun.
        program: the command line of a rank.
        elastic: whether the job continues when a rank is lost, for example one that receives the request before it
            trains: horovodrun is then terminated when that rank has ended, and may exit with 0 although training is not
            done.
    """

    def stop_a_rank(process: "subprocess.Popen[bytes]") -> None:
        rank = _descendant(process.pid, program)
        if rank is not None:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                above = _ancestors_below(process.pid, rank)
                rank.send_signal(signal.SIGUSR1)
                if elastic:
                    rank.wait()
                    # horovodrun, terminated before it knows how this rank ended, would report its own signal instead.
                    psutil.wait_procs(above, timeout=_SECONDS_TO_BE_REAPED)
        if rank is None and elastic:
            process.send_signal(signal.SIGUSR1)
        elif rank is None or elastic:
            process.terminate()

    _run(command, stop_a_rank, code_for_0=StoppedError.exit_code if elastic else 0)


def _ancestors_below(pid: int, process: psutil.Process) -> list[psutil.Process]:
    """The ancestors of a process that are descendants of the process `pid`, for example its shell; nearest first."""
    return list(itertools.takewhile(lambda ancestor: ancestor.pid != pid, process.parents()))


def _descendant(pid: int, command: Sequence[str]) -> psutil.Process | None:
    """The first descendant of a process with exactly this command line."""
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline() == list(command):
                return process
    return None


def _run(command: Sequence[str], stop: Callable[["subprocess.Popen[bytes]"], None], *, code_for_0: int = 0) -> NoReturn:
    """Runs the command; exits with `code_for_0` if a stop was requested and the command exits with 0."""
    # In a new session, so that signals from the terminal reach only this program.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_parent)
    requested = 0  # the first signal's number

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        earlier, requested = requested, requested or number  # set first, as another signal may interrupt what follows
        if earlier and number not in GRACEFUL_ONLY:
            process.terminate()
        else:
            with contextlib.suppress(psutil.NoSuchProcess):  # the command has just ended
                stop(process)

    for number in signals_to_stop():
        signal.signal(number, forward)
    code = process.wait()
    if requested and code == 0:
        sys.exit(code_for_0)
    code = code if code >= 0 else 128 - code
    # The forwarded signal has ended ranks that did not train yet; report the signal that was received.
    sys.exit(128 + requested if requested and code in _FORWARDED_CODES else code)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
