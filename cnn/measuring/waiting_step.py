"""A training step that waits instead of computing, to measure everything that surrounds the steps."""

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from cnn.data.order import Plan
from cnn.errors import UserError
from cnn.learner.metric_table import Answers
from cnn.learner.step import TrainingStep
from cnn.learner.step_results import RankSums, StepResults
from cnn.models.dense import Dense
from cnn.tensor import Tensor


class WaitingStep(TrainingStep):
    """A step whose forward and backward pass take a given time, during which the processor is free.

    Its gradients are zeros of the network's shapes. They are exchanged and applied like those of any step, in the same
    messages; so are metrics and reports.

    Args:
        arguments: as of `TrainingStep`.
        seconds: duration of the forward and backward pass of one step.
        around: called with what runs the steps of a call; returns its results.
        options: as of `TrainingStep`.

    Raises:
        UserError: a kernel is sharded, whose messages are part of the forward and backward pass.
    """

    def __init__(
        self,
        *arguments: Any,
        seconds: float,
        around: Callable[[Callable[[], StepResults]], StepResults],
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        if self._exchange.sharded:
            raise UserError(
                "--control_path leaves the forward pass out, which sends the messages of sharded kernels: choose "
                "--exchange allreduce or factored.",
                agreed=True,
            )
        self._seconds, self._around = seconds, around
        dense_layers = [layer for layer in self._model.layers if isinstance(layer, Dense)]
        self._kernel_shapes = {layer.kernel.path: layer.kernel.shape for layer in dense_layers}

    def run(self, plan: Plan, *arguments: Any, **options: Any) -> StepResults:
        def wait_and_run() -> StepResults:
            time.sleep(self._seconds * len(plan.counts))
            return super(WaitingStep, self).run(plan, *arguments, **options)

        return self._around(wait_and_run)

    def _piece_sums(self, images: Tensor, labels: Tensor, keys: Tensor, weights: Tensor, count: Tensor) -> RankSums:
        samples, share = weights.shape[0], tf.reduce_sum(weights) / tf.cast(count, weights.dtype)
        logits = tf.zeros((samples, self._model.outputs[0].shape[-1]), weights.dtype)
        gradients = [tf.zeros_like(each.value) for each in self._trained if each.path not in self._multiplied]
        factors = [
            tuple(tf.zeros((samples, side), self._model.compute_dtype) for side in self._kernel_shapes[path])
            for path in self._paths
            if path in self._multiplied
        ]
        statistics = [each.value * tf.cast(share, each.dtype) for each in self._moving]
        sums = self._message.sums(Answers(tf.zeros_like(weights), logits, labels), weights)
        return RankSums(gradients, statistics, sums, factors)
