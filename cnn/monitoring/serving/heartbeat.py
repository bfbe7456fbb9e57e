"""A file by which others can tell that a worker stands still: what it does, since when, and how long that may take."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from cnn.foreign_folder import open_new

FOLDER = "CNN_HEARTBEAT_DIR"
"""The environment variable that names the folder of these files; without it, there are none."""

_LIMITS = {"training": 900, "input": 900}
"""Seconds that an activity may take, such as a call of a few steps: more than Horovod waits for a missing worker."""

_OTHER_LIMIT = 3600
"""The same for the other activities, such as compiling the first step."""

_WIDTH = 80


@contextlib.contextmanager
def heartbeat(environ: Mapping[str, str], rank: int) -> Iterator[Callable[[str], None]]:
    """Yields a function that writes which activity a worker begins, to be used in the context.

    It overwrites the one line of the file rank-RANK, whose modification time thus says when the activity began:
    `PROCESS SECONDS ACTIVITY`, where SECONDS is how long the activity may take. launch/pod_alive.sh reads it. If the
    file cannot be written, training goes on without it.

    Args:
        environ: the environment, which names the folder.
        rank: the worker's rank.
    """
    folder, file = environ.get(FOLDER), None
    if folder:
        path = Path(folder) / f"rank-{rank}"
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open_new(path)

    def write(activity: str) -> None:
        if file is None:
            return
        line = f"{os.getpid()} {_LIMITS.get(activity, _OTHER_LIMIT)} {activity}"
        with contextlib.suppress(OSError):
            os.pwrite(file.fileno(), f"{line:<{_WIDTH}}\n".encode(), 0)

    with file or contextlib.nullcontext():
        yield write
