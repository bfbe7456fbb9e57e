"""The metrics of a run, one JSON object per line: {"part": "train", "step": 10, "epoch": 0.5, "loss": 0.3, ...}."""

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
from cnn.monitoring.records.finite import finite
from cnn.whole_file import write_whole

_MAX_VALUE = 1e300
"""Upper limit of the values' magnitudes: larger ones would overflow in computations."""

MAX_STEPS = 2**53
"""More steps than any run has; above it, floats, in which figures are drawn, cannot represent every integer."""

_MAX_LINE = 10_000
"""Maximum characters of a line."""


class MetricsLog:
    """Appends records to RUN/metrics.jsonl.

    `resume_step` is None for a new run, and the checkpoint's step for a resumed one: records of later steps, written
    before the interruption, are dropped, and records of this step that already exist are not written again, so that the
    file holds one record of each part and step.

    Raises UserError when a new run finds an existing file, or when the file of a resumed run is damaged.
    """

    def __init__(self, path: Path, resume_step: int | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._recorded: set[tuple[str, int]] = set()
        if resume_step is not None:
            kept = _drop_after(path, resume_step)
            self._recorded = {(record["part"], record["step"]) for record in kept if record["step"] == resume_step}
        elif os.path.lexists(path):
            raise UserError(f"{path} already holds the metrics of a run: choose another folder, or resume.")
        # Each record reaches the file in one write(), so that none is lost in a buffer when the process dies.
        self._file = open_to_append(path)

    def append(self, part: str, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Writes one record, with the time in Unix seconds.

        `part` is train, validation or test; `values` holds the metrics (accuracies from 0 to 1), learning_rate and
        images_per_second, where the part has them. Non-finite floats become null. Raises OSError when the disk is full.
        """
        if (part, step) in self._recorded:  # by a process that ended before its next checkpoint
            return
        record = {"part": part, "step": int(step), "epoch": float(epoch)}
        record |= {name: float(value) for name, value in values.items()}
        record["time"] = time.time()
        unwritten = memoryview(_line(record))
        while unwritten:  # when the disk fills up, one write is partial and the next raises OSError
            unwritten = unwritten[self._file.write(unwritten) :]

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads the records in the file's order; skips an incomplete last line, left by a killed run.

    Raises UserError, naming file and line, for any other damage, and FileNotFoundError.
    """
    records: list[dict[str, Any]] = []
    line_number = 0
    try:
        with open_to_read(path) as file:
            while line := file.readline(_MAX_LINE + 1):
                line_number += 1
                if line.endswith(b"\n"):
                    records.append(_record(line))
                elif len(line) > _MAX_LINE:
                    raise ValueError(f"it has more than {_MAX_LINE:,} characters")
                else:  # the last line
                    with contextlib.suppress(ValueError):
                        records.append(_record(line))
    except ValueError as error:
        location = f"{path}, line {line_number}" if line_number else path
        raise UserError(f"{location}: not a metrics record ({error}): fix or delete it.") from error
    return records


def _record(line: bytes) -> dict[str, Any]:
    record = parse_json(line)
    if not (isinstance(record, dict) and isinstance(record.get("part"), str) and type(record.get("step")) is int):
        raise ValueError("it is not a JSON object with a part and a step")
    if not 0 <= record["step"] < MAX_STEPS:
        raise ValueError("its step is out of range")
    if record.get("epoch") is None or not all(_is_number(record[name]) for name in record.keys() - {"part"}):
        raise ValueError("it has no epoch, or a value that is not a number")
    return record


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) < _MAX_VALUE)


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(finite(record), allow_nan=False).encode() + b"\n"


def _drop_after(path: Path, step: int) -> list[dict[str, Any]]:
    """Drops the records of later steps from the file; returns the others."""
    if not path.exists():
        return []
    kept = [record for record in read_metrics(path) if record["step"] <= step]
    write_whole(path, b"".join(map(_line, kept)))
    return kept
