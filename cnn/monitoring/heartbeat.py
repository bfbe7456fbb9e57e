"""A file by which others can tell that a worker stands still: what it does, since when, and how long that may take."""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from cnn.foreign_folder import open_new

FOLDER = "CNN_HEARTBEAT_DIR"
"""The environment variable that names the folder of these files; without it, there are none."""

_LIMITS = {"training": 900, "input": 900}
"""Seconds that an activity may take, such as a call of a few steps: more than Horovod waits for a missing worker."""

_OTHER_LIMIT = 3600
"""The same for the other activities, such as compiling the first step."""

_WIDTH = 80


def heartbeat(environ: Mapping[str, str], rank: int) -> Callable[[str], None]:
    """Returns a function that writes which activity a worker begins.

    It overwrites the one line of the file rank-RANK, whose modification time thus says when the activity began:
    `PROCESS SECONDS ACTIVITY`, where SECONDS is how long the activity may take. launch/pod_alive.sh reads it. If the
    file cannot be written, training goes on without it.

    Args:
        environ: the environment, which names the folder.
        rank: the worker's rank.
    """
    folder = environ.get(FOLDER)
    if not folder:
        return lambda activity: None
    path = Path(folder) / f"rank-{rank}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open_new(path)
    except OSError:
        return lambda activity: None

    def write(activity: str) -> None:
        line = f"{os.getpid()} {_LIMITS.get(activity, _OTHER_LIMIT)} {activity}"
        with contextlib.suppress(OSError):
            os.pwrite(file.fileno(), f"{line:<{_WIDTH}}\n".encode(), 0)

    return write
