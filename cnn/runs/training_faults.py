"""Checks the results of training steps for divergence."""

import math

from cnn.cluster.ranks.collectives import Cluster
from cnn.data.order import Plan
from cnn.errors import diverged
from cnn.learner.step_results import StepResults

_MAX_SKIPPED = 40
"""Consecutive steps after which skipping by loss scaling is an error: the scale is small by then, so that it cannot be
the cause."""

_MAX_SAMPLES_LISTED = 8
"""Maximum number of samples per rank that an error lists."""


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
