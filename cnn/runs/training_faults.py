"""Checks the results of training steps for divergence and for slow ranks."""

import math
import statistics

from cnn.cluster.collectives import Cluster
from cnn.data.order import Plan
from cnn.errors import diverged
from cnn.learner.step_results import StepResults

_MAX_SKIPPED = 40
"""Consecutive steps after which skipping by loss scaling is an error: the scale is small by then, so that it cannot be
the cause."""

_MAX_SAMPLES_LISTED = 8
"""Maximum number of samples per rank that an error lists."""

_SLOW_RATIO, _SLOW_SECONDS = 1.2, 0.005
"""A rank is reported as slow if its time exceeds the others' median by this factor, and by this many seconds."""


class DivergenceCheck:
    """Ends a run whose loss is not finite, on every rank at the same step."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._consecutive_skips = 0

    def check(self, plan: Plan, first_step: int, results: StepResults) -> None:
        """Checks the losses of some steps.

        Args:
            plan: this rank's part of the steps' batches.
            first_step: number of the first of the steps.
            results: the results of the steps.

        Raises:
            RunError: training has diverged. The message names the step and the ranks and samples concerned.
        """
        losses, skips = results.totals["loss"].mean, results.diagnostics.skipped
        for row, (loss, skipped) in enumerate(zip(losses, skips, strict=True)):
            self._consecutive_skips = self._consecutive_skips + 1 if skipped else 0
            if self._consecutive_skips == _MAX_SKIPPED:
                cause = f"gradients are too large for float16 even though loss scaling skipped {_MAX_SKIPPED} steps"
            elif not (skipped or math.isfinite(loss)):
                cause = f"the loss is {loss}, {self._origin(plan, row, results)}"
            else:
                continue
            raise diverged(first_step + row + 1, cause)

    def _origin(self, plan: Plan, row: int, results: StepResults) -> str:
        """Names the ranks whose loss is not finite, and their samples; collective: every rank calls it."""
        local_samples = plan.indices[row][plan.weights[row] > 0]
        is_finite = math.isfinite(results.diagnostics.local_losses[row])
        samples = self._cluster.gather(None if is_finite else local_samples[:_MAX_SAMPLES_LISTED].tolist())
        diverged_ranks = [rank for rank, rank_samples in enumerate(samples) if rank_samples]
        if len(diverged_ranks) == len(samples):
            return "of all workers' samples"
        return " and ".join(
            f"of those of rank {rank} (training samples {', '.join(map(str, samples[rank]))}"
            f"{', ...' if len(samples[rank]) == _MAX_SAMPLES_LISTED else ''})"
            for rank in diverged_ranks
        )


class SlowRankCheck:
    """Finds, once in a run, a rank that computes so much more slowly than the others that all wait for it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seconds: list[float] = []
        self._is_done = cluster.world_size == 1

    def add(self, results: StepResults) -> None:
        """Takes this rank's computing times of some steps."""
        if not self._is_done:
            self._seconds += results.diagnostics.local_seconds.tolist()

    def message(self) -> str:
        """Compares the times since the last call; every rank calls it. Empty unless a rank is newly found slow."""
        if self._is_done or not self._seconds:
            return ""
        seconds = self._cluster.gather(statistics.median(self._seconds))
        self._seconds.clear()
        slowest = max(range(len(seconds)), key=seconds.__getitem__)
        others = statistics.median(time for rank, time in enumerate(seconds) if rank != slowest)
        if seconds[slowest] <= _SLOW_RATIO * others or seconds[slowest] - others <= _SLOW_SECONDS:
            return ""
        self._is_done = True
        return (
            f"rank {slowest} (on {self._cluster.peers[slowest][0]}) is slow: it computes a batch's loss in "
            f"{seconds[slowest]:.3g} s, the others in {others:.3g} s. All wait for it; jobs/doctor.py may find the "
            "reason."
        )
