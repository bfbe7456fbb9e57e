"""Runs mpirun so that whoever ends it gives the ranks the time to save what they have."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

_PR_SET_PDEATHSIG = 1


def run_mpirun(command: Sequence[str]) -> NoReturn:
    """Does what the command does, and exits with its exit code.

    mpirun hands SIGUSR1 on to all ranks, which then stop in good order; SIGTERM and SIGINT it follows with SIGKILL
    after a fixed time, host after host. So the first of these is sent on as SIGUSR1, and a second one as SIGTERM.
    """
    # In a session of its own: what is typed at the terminal comes to this program alone.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_parent)
    asked = False

    def send_on(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        again, asked = asked, True  # before it is sent: the next signal may come meanwhile
        process.send_signal(signal.SIGTERM if again and number != signal.SIGUSR1 else signal.SIGUSR1)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, send_on)
    code = process.wait()
    sys.exit(code if code >= 0 else 128 - code)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
