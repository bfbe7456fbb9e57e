"""The metrics of a run, one JSON object a line: {"part": "train", "step": 10, "epoch": 0.5, "loss": 0.3, ...}."""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn.errors import UserError
from cnn.foreign_folder import open_to_append, open_to_read
from cnn.from_json import parse_json
from cnn.monitoring.finite import finite
from cnn.monitoring.whole_file import write_whole

_LARGEST = 1e300
"""Larger ones could not be computed with."""

MAX_STEPS = 2**53
"""No run comes to so many; from here on floats, with which figures are drawn, cannot tell them apart."""

_LONGEST = 10_000
"""Characters of a line."""


class MetricsLog:
    """Appends records to RUN/metrics.jsonl.

    `resume_step` is None for a new run. For a run that goes on from a checkpoint it is that checkpoint's step: records
    of later steps, written by the run that died, are dropped, and what it had already recorded of this step is not
    recorded again, so that the file holds each part's record of a step once.

    Raises UserError when a new run finds a file already there, or when the file to go on with is damaged.
    """

    def __init__(self, path: Path, resume_step: int | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._recorded: set[tuple[str, int]] = set()
        if resume_step is not None:
            kept = _drop_after(path, resume_step)
            self._recorded = {(record["part"], record["step"]) for record in kept if record["step"] == resume_step}
        elif os.path.lexists(path):
            raise UserError(f"{path} already holds the metrics of a run: choose another folder, or resume.")
        # Each record reaches the file with one write() and none is held back when the process dies.
        self._file = open_to_append(path)

    def append(self, part: str, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Writes one record, with the time in unix seconds.

        `part` is train, validation or test; `values` holds the metrics (accuracies from 0 to 1), learning_rate and
        images_per_second, as far as they apply. Floats that are not finite become null. Raises OSError when the disk is
        full.
        """
        if (part, step) in self._recorded:  # by a run that ended before it could save that it had
            return
        record = {"part": part, "step": int(step), "epoch": float(epoch)}
        record |= {name: float(value) for name, value in values.items()}
        record["time"] = time.time()
        rest = memoryview(_line(record))
        while rest:  # a disk that gets full takes a part first, and then raises OSError
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records in the file's order; a half-written last line, left by a killed run, is passed over.

    Raises UserError, naming file and line, for any other damage, and FileNotFoundError.
    """
    records: list[dict[str, Any]] = []
    number = 0
    try:
        with open_to_read(path) as file:
            while line := file.readline(_LONGEST + 1):
                number += 1
                if line.endswith(b"\n"):
                    records.append(_record(line))
                elif len(line) > _LONGEST:
                    raise ValueError(f"it has more than {_LONGEST:,} characters")
                else:  # the last one
                    with contextlib.suppress(ValueError):
                        records.append(_record(line))
    except ValueError as error:
        where = f"{path}, line {number}" if number else path
        raise UserError(f"{where}: not a metrics record ({error}). Mend or delete it.") from error
    return records


def _record(line: bytes) -> dict[str, Any]:
    record = parse_json(line)
    if not (isinstance(record, dict) and isinstance(record.get("part"), str) and type(record.get("step")) is int):
        raise ValueError("no object with a part and a step")
    if not 0 <= record["step"] < MAX_STEPS:
        raise ValueError("a step that no run comes to")
    if record.get("epoch") is None or not all(_is_number(record[name]) for name in record.keys() - {"part"}):
        raise ValueError("no epoch, or a value that is no number")
    return record


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) < _LARGEST)


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(finite(record), allow_nan=False).encode() + b"\n"


def _drop_after(path: Path, step: int) -> list[dict[str, Any]]:
    """Drops the records of later steps; gives the others."""
    if not path.exists():
        return []
    kept = [record for record in read_metrics(path) if record["step"] <= step]
    write_whole(path, b"".join(map(_line, kept)))
    return kept
