"""Printed lines as JSON objects, for systems that collect logs."""

import datetime
import json
import re
import socket
from collections.abc import Mapping
from typing import Any

LOG_FORMAT = "CNN_LOG_FORMAT"
"""The environment variable that decides how lines are printed: `text` or `json`."""

_RANKS = ("OMPI_COMM_WORLD_RANK", "HOROVOD_RANK")
_OF_RANKS = re.compile(r"(?:\[(?:\d+,)?\d+\]<std(?:out|err)>:)*(?=\{)")
"""What Horovod's launcher puts in front of a rank's line, which may be such an object already."""


def wants_json(environ: Mapping[str, str]) -> bool:
    """Whether lines are to be printed as JSON."""
    return environ.get(LOG_FORMAT) == "json"


def json_line(line: str, default_level: str, environ: Mapping[str, str]) -> str:
    """A line as a JSON object with the time (UTC), the level, this host, this process's rank, if any, and the message.

    Args:
        line: the line, without its end. If a rank has printed it as JSON, it is returned without its launcher's prefix.
        default_level: the level of a line that does not begin with `error: ` or `warning: `.
        environ: the environment.
    """
    prefix = _OF_RANKS.match(line)
    if prefix is not None and _is_object(line[prefix.end() :]):
        return line[prefix.end() :]
    label = line.partition(": ")[0]
    described: dict[str, Any] = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        "level": label if label in ("error", "warning") else default_level,
        "host": socket.gethostname(),
    }
    rank = next((environ[name] for name in _RANKS if environ.get(name, "").isdecimal()), None)
    if rank is not None:
        described["rank"] = int(rank)
    return json.dumps({**described, "message": line})


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
