"""The compiled training step, and several of them in one call."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from cnn.data.feed import ResidentFeed
from cnn.data.order import Plan
from cnn.models.batch import TrainingBatch, training_on

Exchange = Callable[[Sequence[Any]], list[Any]]
"""Tensors of one rank to their sums over all ranks."""


def use_precision(precision: str) -> None:
    """Makes networks and optimizers that are built from now on hold and compute float32 or float64."""
    keras.config.set_floatx(precision)
    keras.config.set_dtype_policy(precision)


class StepResults(NamedTuple):
    """What some steps gave, each an array (steps,): over the whole global batch, the same on every rank."""

    losses: np.ndarray
    """Mean cross-entropy, without the regularisation's part."""

    correct: np.ndarray
    """How many samples the network, before the update and with dropout, had right."""

    seconds: np.ndarray
    """What the ranks said in `said_seconds`, added up."""


class TrainingStep:
    """Runs training steps: forward, loss, backward, exchange, update.

    Gradients become the mean over the real samples of the global batch: each rank sums over its own, the exchange adds
    the sums, and the count, which every rank knows from the plan, divides them.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        feed: ResidentFeed,
        exchange: Exchange,
        l2: float,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._feed = feed
        self._exchange = exchange
        self._l2 = l2
        self._compiled: dict[int, Any] = {}

    def run(self, plan: Plan, learning_rates: np.ndarray, said_seconds: float = 0.0) -> StepResults:
        """Takes one step for each row of the plan, in one call.

        Args:
            plan: this rank's part of the batches.
            learning_rates: (steps,).
            said_seconds: any number; its sum over the ranks comes back with the gradients, at no cost.
        """
        sums = self._compile(plan.indices.shape[1])(
            tf.constant(plan.indices),
            tf.constant(plan.keys),
            tf.constant(plan.weights, self._model.dtype),
            tf.constant(plan.counts),
            tf.constant(learning_rates, tf.float64),
            tf.constant(said_seconds, tf.float64),
        ).numpy()
        return StepResults(sums[:, 0] / plan.counts, np.rint(sums[:, 1]).astype(np.int64), sums[:, 2])

    def gradients(self, plan: Plan, row: int = 0) -> list[np.ndarray]:
        """The exchanged mean gradients of one step of a plan, without an update."""
        indices, keys = tf.constant(plan.indices[row]), tf.constant(plan.keys[row])
        weights = tf.constant(plan.weights[row], self._model.dtype)
        compute = tf.function(lambda: self._mean_gradients(indices, keys, weights, tf.constant(plan.counts[row]), []))
        return [gradient.numpy() for gradient in compute()[0]]

    def _compile(self, width: int) -> Any:
        """The compiled function for any number of steps of `width` samples a rank."""
        if width not in self._compiled:
            kinds = (tf.int32, tf.uint32, self._model.dtype)
            signature = [tf.TensorSpec((None, width), kind) for kind in kinds]
            signature += [tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None,), tf.float64)]
            signature += [tf.TensorSpec((), tf.float64)]
            self._compiled[width] = tf.function(self._steps, input_signature=signature)
        return self._compiled[width]

    def _steps(self, indices: Any, keys: Any, weights: Any, counts: Any, rates: Any, said: Any) -> Any:
        steps = tf.shape(counts)[0]

        def one(step: Any, results: Any) -> tuple[Any, Any]:
            self._optimizer.learning_rate.assign(tf.cast(rates[step], self._optimizer.learning_rate.dtype))
            gradients, sums = self._mean_gradients(indices[step], keys[step], weights[step], counts[step], [said])
            self._optimizer.apply(gradients, self._model.trainable_variables)
            return step + 1, results.write(step, sums)

        results = tf.TensorArray(weights.dtype, size=steps, element_shape=(3,))
        _, results = tf.while_loop(lambda step, _: step < steps, one, (0, results), parallel_iterations=1)
        return results.stack()

    def _mean_gradients(
        self, indices: Any, keys: Any, weights: Any, count: Any, said: Sequence[Any]
    ) -> tuple[list[Any], Any]:
        """Gradients of the mean loss of a global batch, and the sums [loss, correct, *said] over the ranks."""
        images, labels = self._feed.batch(indices)
        variables = [variable.value for variable in self._model.trainable_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            with training_on(TrainingBatch(keys=keys)):
                logits = self._model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_sum(losses * weights)
        right = tf.cast(tf.equal(tf.argmax(logits, 1, tf.int32), labels), weights.dtype)
        sums = tf.stack([loss, tf.reduce_sum(right * weights), *(tf.cast(word, weights.dtype) for word in said)])
        *gradients, sums = self._exchange([*tape.gradient(loss, variables), sums])
        share = 1 / tf.cast(count, weights.dtype)
        return [
            self._regularised(gradient * share, variable)
            for gradient, variable in zip(gradients, self._model.trainable_variables, strict=True)
        ], sums

    def _regularised(self, gradient: Any, variable: Any) -> Any:
        if self._l2 and variable.name == "kernel":
            return gradient + tf.constant(self._l2, gradient.dtype) * variable.value
        return gradient
