"""The training loop's state, which a checkpoint holds besides the variables."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnn.from_json import from_json
from cnn.learner.metric_table import BEST_BY, METRICS, Metric
from cnn.learner.totals import Total, Totals
from cnn.monitoring.records.metrics import MAX_STEPS

_POSITIONAL = {"best_correct", "best_loss"}
"""Fields of records of earlier versions, whose metrics were positional."""


@dataclasses.dataclass(kw_only=True)
class _CommonFields:
    """The fields that all versions of the record have."""

    step: int = 0
    best_step: int | None = None
    evaluated_step: int = 0
    """Step of the last epoch's end whose evaluation, if any, was done."""

    training_seconds: float = 0.0
    images: int = 0


@dataclasses.dataclass(kw_only=True)
class LoopState(_CommonFields):
    """The training loop's state: with the variables' values, all that resuming needs. Only the loop changes it."""

    best: dict[str, float] = dataclasses.field(default_factory=dict)
    """The metrics of BEST_BY in the best evaluation so far: a count of samples for counted ones, else the mean."""

    pending: Totals = dataclasses.field(default_factory=dict)
    """The metrics of the steps since the last point of the training curve."""

    def update_best(self, totals: Totals) -> bool:
        """Records an evaluation if it is the best so far, by the metrics of BEST_BY in order; returns whether it is."""
        scores = {
            name: int(totals[name].sums[0]) if METRICS[name].counted else float(totals[name].mean) for name in BEST_BY
        }
        better = not self.best or _order(scores) > _order(self.best)
        if better:
            self.best_step, self.best = self.step, scores
        return better

    def record(self) -> dict[str, Any]:
        """The state as JSON values."""
        pending = {
            name: {"sums": sums.tolist(), "samples": samples.tolist()} for name, (sums, samples) in self.pending.items()
        }
        return {**vars(self), "best": dict(self.best), "pending": pending}

    @classmethod
    def from_record(cls, values: Any) -> "LoopState":
        """Reads a record, of this version or of an earlier one whose metrics were positional instead of named.

        Pending metrics that are no longer in the table are left out.

        Raises:
            ValueError: no run can have this state.
        """
        record = from_json(_Record, _named(values))
        _check_counts(record)
        if record.best and record.best.keys() != set(BEST_BY):
            raise ValueError("its best evaluation has other metrics")
        best = {name: _score(score, METRICS[name]) for name, score in record.best.items()}
        pending = {name: _total(total, METRICS[name]) for name, total in record.pending.items() if name in METRICS}
        return cls(**{**vars(record), "best": best, "pending": pending})


@dataclasses.dataclass
class _StoredTotal:
    sums: list[float]
    samples: list[int]


@dataclasses.dataclass(kw_only=True)
class _Record(_CommonFields):
    """A stored state."""

    best: dict[str, float] = dataclasses.field(default_factory=dict)
    pending: dict[str, _StoredTotal] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(kw_only=True)
class _PositionalRecord(_CommonFields):
    """A state stored by an earlier version, whose metrics were positional."""

    best_correct: int = -1
    best_loss: float = float("inf")
    pending: list[tuple[float, float, float]] = dataclasses.field(default_factory=list)
    """For each step: loss times samples, number of correct samples, number of samples."""


def _named(values: Any) -> Any:
    """Converts a record with positional metrics to named ones; returns any other record unchanged."""
    if not isinstance(values, dict) or not (_POSITIONAL & values.keys() or isinstance(values.get("pending"), list)):
        return values
    before = vars(from_json(_PositionalRecord, values))
    correct, loss, steps = before.pop("best_correct"), before.pop("best_loss"), before.pop("pending")
    best = {} if correct == -1 and not math.isnan(loss) else {"accuracy": correct, "loss": loss}
    names, sums = ("loss", "accuracy"), [sum(column) for column in zip(*steps, strict=True)]
    pending = {name: {"sums": [sums[index]], "samples": [_count(sums[2])]} for index, name in enumerate(names) if steps}
    return {**before, "best": best, "pending": pending}


def _check_counts(record: _Record) -> None:
    """Raises ValueError for steps, images and seconds that no run can have."""
    best = 0 if record.best_step is None else record.best_step
    if not 0 <= max(best, record.evaluated_step) <= record.step < MAX_STEPS:
        raise ValueError("its steps contradict each other")
    counts = (best, record.evaluated_step, record.images, record.training_seconds)
    if min(counts) < 0 or not math.isfinite(record.training_seconds):
        raise ValueError("a count in it is impossible")


def _score(score: float, metric: Metric) -> float:
    if math.isnan(score):
        raise ValueError("a metric of its best evaluation is not a number")
    return _count(score) if metric.counted else score


def _total(total: _StoredTotal, metric: Metric) -> Total:
    if not 1 <= len(total.sums) == len(total.samples) or (len(total.sums) > 1 and not metric.per_class):
        raise ValueError("a pending metric does not have one number of samples for each sum")
    counts = [_count(each) for each in total.samples]
    if sum(counts) == 0:
        raise ValueError("a pending metric has no samples")
    if not metric.counted:
        return Total(np.array(total.sums), np.array(counts))
    sums = [_count(each) for each in total.sums]
    if any(part > count for part, count in zip(sums, counts, strict=True)):
        raise ValueError("a pending count is larger than its number of samples")
    return Total(np.array(sums), np.array(counts))


def _count(number: float) -> int:
    if not (0 <= number < MAX_STEPS and number == int(number)):
        raise ValueError("a count in it is impossible")
    return int(number)


def _order(scores: Mapping[str, float]) -> tuple[float, ...]:
    """A key that is larger for better scores."""
    return tuple(scores[name] if METRICS[name].better == "higher" else -scores[name] for name in BEST_BY)
