"""The terminal that a program's output reaches: whether there is one, and how wide it is."""

import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import TextIO

from cnn.json_lines import wants_json

PROGRESS = "CNN_PROGRESS"
"""The environment variable that decides how progress is shown: `bar` or `lines`."""

_DEFAULT_COLUMNS = 80


def has_terminal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to draw a bar on the stream.

    No, if lines are printed as JSON; else CNN_PROGRESS decides if it is set, else whether the stream is a terminal.
    """
    if wants_json(environ):
        return False
    choice = environ.get(PROGRESS, "")
    if choice:
        return choice == "bar"
    return stream.isatty() and environ.get("TERM") != "dumb"  # a dumb one cannot overwrite a line


def columns(stream: TextIO) -> int:
    """The present width of the terminal that the stream reaches: COLUMNS if set, 80 if it is unknown."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_COLUMNS
    except (OSError, ValueError):  # ValueError: a stream without a file
        return _DEFAULT_COLUMNS


def pass_terminal_on(environ: MutableMapping[str, str], prefix: int = 0) -> None:
    """Tells the processes that a launcher starts that their output reaches a terminal, and how wide it is.

    They cannot find out: the launcher gives them pipes, or pseudo-terminals even if its own output goes to a file.

    Args:
        environ: the environment that they get.
        prefix: characters that the launcher puts in front of each of their lines.
    """
    if not environ.get(PROGRESS) and all(has_terminal(stream, environ) for stream in (sys.stdout, sys.stderr)):
        environ[PROGRESS] = "bar"
        environ["COLUMNS"] = str(max(1, columns(sys.stdout) - prefix))
