"""The mpirun that started this rank, as far as it can be looked up on this host."""

import contextlib
import os
import stat
from collections.abc import MutableMapping
from pathlib import Path
from typing import NamedTuple

from cnn.cluster.launchers.process import Launch
from cnn.terminal import PROGRESS

_NAMES = {"mpirun", "mpiexec", "orterun"}
_STDOUT, _STDERR = 1, 2
_TAG = "[1,0]<stdout>:"
"""What mpirun --tag-output puts in front of each piece of rank 0's output."""

_TIME_STAMP = "Sun Nov 29 00:00:00 2026"


class Mpirun(NamedTuple):
    """A running mpirun."""

    pid: int
    words: list[str]
    """Its command line."""


def find_mpirun() -> Mpirun | None:
    """The mpirun above this process; None if there is none, or if it runs on another host."""
    import psutil  # here, because --help and processes without mpirun do not need it

    with contextlib.suppress(psutil.Error):
        for process in psutil.Process().parents():
            words = process.cmdline()
            if words and Path(words[0]).name in _NAMES:
                return Mpirun(process.pid, words)
    return None


def look_for_terminal(launch: Launch, environ: MutableMapping[str, str]) -> None:
    """Sets CNN_PROGRESS and COLUMNS for a rank whose launcher has not: it does not see the user's terminal itself.

    This project's launchers and its horovodrun pass the terminal on, but mpirun can also be started directly.
    """
    if launch.controller == "none" or environ.get(PROGRESS):
        return
    mpirun = find_mpirun() if launch.controller == "mpi" else None
    width = None if mpirun is None else _free_columns(mpirun)
    environ[PROGRESS] = "lines" if width is None else "bar"
    if width is not None:
        environ.setdefault("COLUMNS", str(width))


def _free_columns(mpirun: Mpirun) -> int | None:
    """The width of the terminal on which mpirun writes what ranks write, less its prefix; None if there is none."""
    with contextlib.suppress(OSError):
        widths = [_width(f"/proc/{mpirun.pid}/fd/{number}") for number in (_STDOUT, _STDERR)]
        options = " ".join(mpirun.words)
        prefix = len(_TAG) * ("tag-output" in options) + len(_TAG + _TIME_STAMP) * ("timestamp-output" in options)
        return max(1, min(widths) - prefix)
    return None


def _width(path: str) -> int:
    """The width of a terminal; OSError if it is something else."""
    if not stat.S_ISCHR(os.stat(path).st_mode):  # opening a pipe, for example, might wait
        raise OSError(f"{path} is not a terminal")
    descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return os.get_terminal_size(descriptor).columns or 80
    finally:
        os.close(descriptor)
