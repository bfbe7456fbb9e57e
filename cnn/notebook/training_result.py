"""What a training run has reached."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn.from_json import read_object
from cnn.monitoring.records.metrics import read_metrics


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The result of a finished run; `cnn.load(result.folder)` loads its network."""

    folder: Path
    """The run's folder."""

    test_accuracy: float
    """The fraction of the test images that the best checkpoint classifies correctly."""

    curves: dict[str, dict[str, np.ndarray]] = dataclasses.field(repr=False)
    """The learning curves by part and name: `curves["validation"]["accuracy"]`, for example, over
    `curves["validation"]["step"]` or `["epoch"]`. The parts are train, validation and test; NaN is a missing value."""


def read_result(folder: Path) -> TrainingResult:
    """Reads the result of a finished run from its folder; UserError if a file is missing or damaged."""
    summary, records = read_object(folder / "summary.json"), read_metrics(folder / "metrics.jsonl")
    parts = dict.fromkeys(record["part"] for record in records)
    curves = {part: _columns([record for record in records if record["part"] == part]) for part in parts}
    return TrainingResult(folder=folder, test_accuracy=float(summary["test_accuracy"]), curves=curves)


def _columns(records: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for record in records for name in record if name != "part")
    return {
        name: np.array([np.nan if (value := record.get(name)) is None else value for record in records])
        for name in names
    }
