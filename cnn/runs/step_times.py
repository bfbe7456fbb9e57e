"""Measures where the time of a run's steps goes on all ranks, and finds what limits the speed."""

import statistics
from collections.abc import Sequence

import numpy as np

from cnn.cluster.ranks.collectives import Cluster
from cnn.learner.step_results import StepResults
from cnn.monitoring.timing.bottlenecks import Bottleneck, Circumstances, StepTimes, bottlenecks, slow_rank

_ENOUGH_SECONDS = 20.0
"""Seconds of steps from which a cause is worth a message; for a slow rank, less is enough."""


class StepTimer:
    """Collects the times of steps; every rank calls each method at the same step.

    Args:
        cluster: the workers.
        circumstances: what the causes of slow steps and their remedies depend on.
    """

    def __init__(self, cluster: Cluster, circumstances: Circumstances) -> None:
        self._cluster = cluster
        self._circumstances = circumstances
        self._named: set[str] = set()
        self._window = _Sums()
        self._whole = _Sums()
        self._start_interval()

    def _start_interval(self) -> None:
        self._seconds = self._input_seconds = self._computing_seconds = 0.0
        self._loss_seconds: list[float] = []
        self._exchange_seconds: list[float] = []

    def add(self, seconds: float, input_seconds: float, results: StepResults) -> None:
        """Adds the steps of a call.

        Args:
            seconds: duration of the call.
            input_seconds: the part of it in which this rank waited for images.
            results: the results of the steps.
        """
        self._seconds += seconds
        self._input_seconds += input_seconds
        self._computing_seconds += float(results.diagnostics.computing_seconds.sum())
        self._loss_seconds += results.diagnostics.loss_seconds.tolist()
        self._exchange_seconds += results.diagnostics.exchange_seconds.tolist()

    def compare(self) -> list[StepTimes]:
        """Every rank's times of the steps since the last call; empty if there were none."""
        steps = len(self._loss_seconds)
        if not steps:
            return []
        own = StepTimes(
            total=self._seconds / steps,
            input=self._input_seconds / steps,
            loss=statistics.mean(self._loss_seconds),
            computing=self._computing_seconds / steps,
            exchange=statistics.mean(self._exchange_seconds),
            usual_loss=statistics.median(self._loss_seconds),
            usual_exchange=statistics.median(self._exchange_seconds),
        )
        self._start_interval()
        ranks = [StepTimes(*each) for each in self._cluster.gather(list(own))]
        self._window.add(ranks, steps)
        self._whole.add(ranks, steps)
        return ranks

    def newly_found(self, ranks: Sequence[StepTimes]) -> list[Bottleneck]:
        """The causes of slow steps that were not found before; rank 0 calls it.

        Args:
            ranks: the result of `compare`.
        """
        found = slow_rank(ranks, self._circumstances)
        if self._window.seconds >= _ENOUGH_SECONDS:
            found += bottlenecks(self._window.means, self._circumstances)
            self._window = _Sums()
        new = {each.cause: each for each in found if each.cause not in self._named}
        self._named |= new.keys()
        return list(new.values())

    def overall(self) -> tuple[StepTimes | None, list[Bottleneck]]:
        """This rank's times of all steps since the start, and what limited them if that was long enough to tell."""
        if not self._whole.steps:
            return None, []
        means = self._whole.means
        found = bottlenecks(means, self._circumstances) if self._whole.seconds >= _ENOUGH_SECONDS else []
        return means[self._cluster.rank], found


class _Sums:
    """Sums of the ranks' times over steps."""

    def __init__(self) -> None:
        self.steps = 0
        self._sums: np.ndarray | float = 0.0

    def add(self, ranks: Sequence[StepTimes], steps: int) -> None:
        self.steps += steps
        self._sums = self._sums + steps * np.array(ranks)

    @property
    def means(self) -> list[StepTimes]:
        return [StepTimes(*map(float, row)) for row in np.asarray(self._sums) / self.steps]

    @property
    def seconds(self) -> float:
        return float(np.asarray(self._sums)[0, 0]) if self.steps else 0.0
