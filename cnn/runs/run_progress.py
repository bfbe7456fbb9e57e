"""Where a run is: what a checkpoint holds of it besides the state."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnn.from_json import from_json
from cnn.learner.metric_table import BEST_BY, METRICS, Metric
from cnn.learner.totals import Total, Totals
from cnn.monitoring.metrics import MAX_STEPS

_BY_PLACE = {"best_correct", "best_loss"}
"""Fields of records whose metrics have places."""


@dataclasses.dataclass(kw_only=True)
class _Position:
    """What every record of a progress holds."""

    step: int = 0
    best_step: int | None = None
    evaluated_step: int = 0
    """Of the last epoch's end at which all was done that is due there."""

    training_seconds: float = 0.0
    images: int = 0


@dataclasses.dataclass(kw_only=True)
class Progress(_Position):
    """Where a run is; with the variables' values, all that a checkpoint needs. The loop alone changes it."""

    best: dict[str, float] = dataclasses.field(default_factory=dict)
    """The metrics of BEST_BY in the best evaluation so far: of counted ones how many samples, else the mean."""

    pending: Totals = dataclasses.field(default_factory=dict)
    """The metrics of the steps since the last point of the training curve."""

    def take(self, totals: Totals) -> bool:
        """Whether an evaluation is the best so far: by the first metric of BEST_BY, then by the next."""
        scores = {
            name: int(totals[name].sums[0]) if METRICS[name].counted else float(totals[name].mean) for name in BEST_BY
        }
        better = not self.best or _order(scores) > _order(self.best)
        if better:
            self.best_step, self.best = self.step, scores
        return better

    def record(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        pending = {
            name: {"sums": sums.tolist(), "samples": samples.tolist()} for name, (sums, samples) in self.pending.items()
        }
        return {**vars(self), "best": dict(self.best), "pending": pending}

    @classmethod
    def from_record(cls, values: Any) -> "Progress":
        """What `record` gave, now or in a version whose metrics had places instead of names.

        Pending metrics that are no longer in the table are left out.

        Raises:
            ValueError: no run comes to this.
        """
        record = from_json(_Record, _by_name(values))
        _check_counts(record)
        if record.best and record.best.keys() != set(BEST_BY):
            raise ValueError("what is best is of other metrics")
        best = {name: _score(score, METRICS[name]) for name, score in record.best.items()}
        pending = {name: _total(total, METRICS[name]) for name, total in record.pending.items() if name in METRICS}
        return cls(**{**vars(record), "best": best, "pending": pending})


@dataclasses.dataclass
class _StoredTotal:
    sums: list[float]
    samples: list[int]


@dataclasses.dataclass(kw_only=True)
class _Record(_Position):
    """A progress as it is stored."""

    best: dict[str, float] = dataclasses.field(default_factory=dict)
    pending: dict[str, _StoredTotal] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(kw_only=True)
class _RecordByPlace(_Position):
    """A progress as it was stored when metrics had places."""

    best_correct: int = -1
    best_loss: float = float("inf")
    pending: list[tuple[float, float, float]] = dataclasses.field(default_factory=list)
    """Of each step the loss times the samples, how many of these were right, and how many there were."""


def _by_name(values: Any) -> Any:
    """A record whose metrics have places, as it would be now; any other as it is."""
    if not isinstance(values, dict) or not (_BY_PLACE & values.keys() or isinstance(values.get("pending"), list)):
        return values
    before = vars(from_json(_RecordByPlace, values))
    correct, loss, steps = before.pop("best_correct"), before.pop("best_loss"), before.pop("pending")
    best = {} if correct == -1 and not math.isnan(loss) else {"accuracy": correct, "loss": loss}
    names, sums = ("loss", "accuracy"), [sum(column) for column in zip(*steps, strict=True)]
    pending = {name: {"sums": [sums[place]], "samples": [_whole(sums[2])]} for place, name in enumerate(names) if steps}
    return {**before, "best": best, "pending": pending}


def _check_counts(record: _Record) -> None:
    """Raises ValueError for steps, images and seconds that no run comes to."""
    best = 0 if record.best_step is None else record.best_step
    if not 0 <= max(best, record.evaluated_step) <= record.step < MAX_STEPS:
        raise ValueError("its steps cannot be those of one run")
    counts = (best, record.evaluated_step, record.images, record.training_seconds)
    if min(counts) < 0 or not math.isfinite(record.training_seconds):
        raise ValueError("a number in it cannot be one that was counted")


def _score(score: float, metric: Metric) -> float:
    if math.isnan(score):
        raise ValueError("what is best is not a number")
    return _whole(score) if metric.counted else score


def _total(total: _StoredTotal, metric: Metric) -> Total:
    if not 1 <= len(total.sums) == len(total.samples) or (len(total.sums) > 1 and not metric.per_class):
        raise ValueError("what is pending is not a sum and a number of samples for each metric")
    counts = [_whole(each) for each in total.samples]
    if sum(counts) == 0:
        raise ValueError("what is pending is of no samples")
    if not metric.counted:
        return Total(np.array(total.sums), np.array(counts))
    sums = [_whole(each) for each in total.sums]
    if any(part > count for part, count in zip(sums, counts, strict=True)):
        raise ValueError("more samples are counted than there are")
    return Total(np.array(sums), np.array(counts))


def _whole(number: float) -> int:
    if not (0 <= number < MAX_STEPS and number == int(number)):
        raise ValueError("a number in it cannot be one that was counted")
    return int(number)


def _order(scores: Mapping[str, float]) -> tuple[float, ...]:
    """What is larger for better scores."""
    return tuple(scores[name] if METRICS[name].better == "higher" else -scores[name] for name in BEST_BY)
