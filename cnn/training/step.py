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

_AUXILIARY_SHARE = 0.3
"""What an auxiliary classifier's loss counts for; Szegedy et al., 2014, section 5."""


def use_precision(precision: str) -> None:
    """Makes networks and optimizers that are built from now on hold and compute float32 or float64."""
    keras.config.set_floatx(precision)
    keras.config.set_dtype_policy(precision)


class StepResults(NamedTuple):
    """What some steps gave, each an array (steps,): over the whole global batch, the same on every rank."""

    losses: np.ndarray
    """Mean cross-entropy, auxiliary classifiers' shares included, without the regularisation's part."""

    correct: np.ndarray
    """How many samples the network, before the update and with dropout, had right."""

    seconds: np.ndarray
    """What the ranks said in `said_seconds`, added up."""


class Row(NamedTuple):
    """Tensors of a plan, on the device: of all its steps, or of one."""

    indices: Any
    keys: Any
    weights: Any
    counts: Any


class Gradients(NamedTuple):
    """What one step's exchange gave, on every rank."""

    gradients: list[Any]
    """Of the mean loss of the global batch and its regularisation, for each trainable variable."""

    sums: Any
    """[loss, correct, ...] summed over the samples."""

    statistics: list[tuple[Any, Any]]
    """Moving statistics of the network, and the mean of what the groups said they are."""


class TrainingStep:
    """Runs training steps: forward, loss, backward, exchange, update.

    Gradients become the mean over the real samples of the global batch: each rank sums over its own, the exchange adds
    the sums, and the count, which every rank knows from the plan, divides them.

    Args:
        model: gives logits, or a list of these and of auxiliary ones.
        optimizer: built for the model's trainable variables.
        feed: gives images and labels.
        exchange: sums over the ranks.
        l2: times a kernel, added to its gradient.
        group_size: samples that are looked at together, as in the plans.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        feed: ResidentFeed,
        exchange: Exchange,
        *,
        l2: float = 0.0,
        group_size: int = 1,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._feed = feed
        self._exchange = exchange
        self._l2 = l2
        self._group_size = group_size
        self._compiled: dict[int, Any] = {}

    def run(self, plan: Plan, learning_rates: np.ndarray, said_seconds: float = 0.0) -> StepResults:
        """Takes one step for each row of the plan, in one call.

        Args:
            plan: this rank's part of the batches.
            learning_rates: (steps,).
            said_seconds: any number; its sum over the ranks comes back with the gradients, at no cost.
        """
        compiled = self._compile(plan.indices.shape[1])
        said = tf.constant(said_seconds, self._model.dtype)
        sums = compiled(self._rows(plan), tf.constant(learning_rates, tf.float64), said).numpy()
        return StepResults(sums[:, 0] / plan.counts, np.rint(sums[:, 1]).astype(np.int64), sums[:, 2])

    def gradients(self, plan: Plan, row: int = 0) -> list[np.ndarray]:
        """The exchanged mean gradients of one step of a plan, without an update."""
        batch = Row(*(values[row] for values in self._rows(plan)))
        return [gradient.numpy() for gradient in tf.function(lambda: self._exchanged(batch, []))().gradients]

    def _rows(self, plan: Plan) -> Row:
        weights = tf.constant(plan.weights, self._model.dtype)
        return Row(tf.constant(plan.indices), tf.constant(plan.keys), weights, tf.constant(plan.counts))

    def _compile(self, width: int) -> Any:
        """The compiled function for any number of steps of `width` samples a rank."""
        if width not in self._compiled:
            rows = Row(
                indices=tf.TensorSpec((None, width), tf.int32),
                keys=tf.TensorSpec((None, width), tf.uint32),
                weights=tf.TensorSpec((None, width), self._model.dtype),
                counts=tf.TensorSpec((None,), tf.int32),
            )
            signature = [rows, tf.TensorSpec((None,), tf.float64), tf.TensorSpec((), self._model.dtype)]
            self._compiled[width] = tf.function(self._steps, input_signature=signature)
        return self._compiled[width]

    def _steps(self, rows: Row, rates: Any, said: Any) -> Any:
        def one(step: Any, results: Any) -> tuple[Any, Any]:
            exchanged = self._exchanged(Row(*(values[step] for values in rows)), [said])
            self._optimizer.learning_rate.assign(tf.cast(rates[step], self._optimizer.learning_rate.dtype))
            self._optimizer.apply(exchanged.gradients, self._model.trainable_variables)
            for variable, value in exchanged.statistics:
                variable.assign(value)
            return step + 1, results.write(step, exchanged.sums)

        steps = tf.shape(rates)[0]
        results = tf.TensorArray(said.dtype, size=steps, element_shape=(3,))
        _, results = tf.while_loop(lambda step, _: step < steps, one, (0, results), parallel_iterations=1)
        return results.stack()

    def _exchanged(self, row: Row, said: Sequence[Any]) -> Gradients:
        """Forward, backward and exchange; the sums are those of the loss, of the samples right, and of what is said."""
        images, labels, partners, shares = self._feed.training_batch(
            row.indices, row.keys, row.weights, self._group_size
        )

        def cross_entropy(logits: Any) -> Any:
            own = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            if partners is None:
                return own
            return shares * own + (1 - shares) * tf.nn.sparse_softmax_cross_entropy_with_logits(partners, logits)

        batch = TrainingBatch(keys=row.keys, weights=row.weights, group_size=self._group_size)
        variables = [variable.value for variable in self._model.trainable_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            with training_on(batch):
                outputs = self._model(images, training=True)
            logits, *auxiliary = outputs if isinstance(outputs, list) else [outputs]
            losses = cross_entropy(logits)
            for others in auxiliary:
                losses += _AUXILIARY_SHARE * cross_entropy(others)
            loss = tf.reduce_sum(losses * row.weights)
        right = tf.cast(tf.equal(tf.argmax(logits, 1, tf.int32), labels), row.weights.dtype)
        sums = tf.stack([loss, tf.reduce_sum(right * row.weights), *said])
        moving, group_sums = zip(*batch.statistics, strict=True) if batch.statistics else ((), ())
        summed = self._exchange([*tape.gradient(loss, variables), *group_sums, sums])
        count = tf.cast(row.counts, row.weights.dtype)
        groups = tf.math.ceil(count / self._group_size)
        gradients = [
            self._regularised(gradient / count, variable)
            for gradient, variable in zip(summed[: len(variables)], self._model.trainable_variables, strict=True)
        ]
        statistics = [
            (variable, total / groups) for variable, total in zip(moving, summed[len(variables) : -1], strict=True)
        ]
        return Gradients(gradients, summed[-1], statistics)

    def _regularised(self, gradient: Any, variable: Any) -> Any:
        if self._l2 and variable.name == "kernel":
            return gradient + tf.constant(self._l2, gradient.dtype) * variable.value
        return gradient
