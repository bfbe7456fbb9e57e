"""The compiled training step, and several of them in one call."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cnn.cluster.exchange import Exchange
from cnn.data.feed import Feed, Read
from cnn.data.order import Plan
from cnn.learner.loss import cross_entropy
from cnn.learner.loss_scale import LossScale
from cnn.learner.metric_table import Answers
from cnn.learner.step_message import Reports, StepMessage
from cnn.learner.step_results import Diagnostics, Gradients, RankSums, Row, StepResults
from cnn.models.batch import TrainingBatch, training_on
from cnn.optim.averaging import WeightAverage
from cnn.optim.norms import clipped
from cnn.optim.regularisation import RegularisationSettings
from cnn.tensor import Tensor

_AUXILIARY_SHARE = 0.3
"""What an auxiliary classifier's loss counts for; Szegedy et al., 2014, section 5."""

_NOTHING_TO_REPORT = Reports()


class TrainingStep:
    """Runs training steps: forward, loss, backward, exchange, update.

    Gradients become the mean over the real samples of the global batch: each rank sums over its own what it would be
    of the loss divided by the count, which every rank knows from the plan, and the exchange adds the sums.

    Args:
        model: gives logits, or a list of these and of auxiliary ones.
        optimizer: built for the model's trainable variables.
        feed: gives images and labels.
        exchange: sums over the ranks.
        regularisation: L2, label smoothing and clipping; the rest of it is the optimizer's and the average's.
        group_size: samples that are looked at together, as in the plans.
        micro_batch_size: most samples that a rank computes at once, as in the plans; all when None.
        average: follows the weights.
        loss_scale: for float16.
        xla: compile forward and backward by XLA.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        feed: Feed,
        exchange: Exchange,
        regularisation: RegularisationSettings,
        *,
        group_size: int = 1,
        micro_batch_size: int | None = None,
        average: WeightAverage | None = None,
        loss_scale: LossScale | None = None,
        xla: bool = False,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._feed = feed
        self._exchange = exchange
        self._regularisation = regularisation
        self._group_size = group_size
        self._micro_batch_size = micro_batch_size
        self._average = average
        self._loss_scale = loss_scale
        self._message = StepMessage(model.outputs[0].shape[-1])
        self._forward_and_backward = tf.function(self._sums, jit_compile=True, autograph=False) if xla else self._sums
        self._compiled: dict[int, Any] = {}

    def run(
        self,
        plan: Plan,
        learning_rates: np.ndarray,
        reports: Reports = _NOTHING_TO_REPORT,
        read: Read | None = None,
    ) -> StepResults:
        """Takes one step for each row of the plan, in one call or as many as the feed's memory takes.

        Args:
            plan: this rank's part of the batches.
            learning_rates: (steps,).
            reports: this rank's; the sums over the ranks come back with the gradients.
            read: the function of `reading_ahead`; the feed's own when None.
        """
        steps, width = plan.indices.shape
        compiled, most = self._compile(width), self._feed.max_steps(width)
        reported = tf.constant([float(each) for each in reports], self._model.dtype)
        parts = []
        for first in range(0, steps, most):
            rates = tf.constant(learning_rates[first : first + most], tf.float64)
            parts.append(compiled(self._rows(plan.part(first, first + most), read), rates, reported).numpy())
        messages, diagnostics = np.split(np.concatenate(parts), [self._message.width], axis=1)
        skipped, local_seconds, local_losses = diagnostics.T
        totals, of_all = self._message.unpack(messages, plan.counts)
        return StepResults(totals, of_all, Diagnostics(skipped > 0, local_seconds, local_losses))

    def reading_ahead(self, coming: Iterator[np.ndarray]) -> contextlib.AbstractContextManager[Read]:
        """A function for `run` that may read images before they are needed; see `Feed.reading_ahead`."""
        return self._feed.reading_ahead(coming)

    def gradients(self, plan: Plan, row: int = 0) -> list[np.ndarray]:
        """The exchanged mean gradients of one step of a plan, without an update."""
        batch = Row(*(values[0] for values in self._rows(plan.part(row, row + 1), None)))
        reports = tf.zeros(len(Reports._fields), self._model.dtype)
        compiled = tf.function(lambda: self._exchanged(self._rank_sums(batch), reports), autograph=False)
        return [gradient.numpy() for gradient in compiled().gradients]

    def _rows(self, plan: Plan, read: Read | None) -> Row:
        weights = tf.constant(plan.weights, self._model.dtype)
        return Row(*(read or self._feed.read)(plan.indices), tf.constant(plan.keys), weights, tf.constant(plan.counts))

    def _compile(self, width: int) -> Any:
        """The compiled function for any number of steps of `width` samples a rank."""
        if width not in self._compiled:
            rows = Row(
                *self._feed.specs(width),
                keys=tf.TensorSpec((None, width), tf.uint32),
                weights=tf.TensorSpec((None, width), self._model.dtype),
                counts=tf.TensorSpec((None,), tf.int32),
            )
            reports = tf.TensorSpec((len(Reports._fields),), self._model.dtype)
            signature = [rows, tf.TensorSpec((None,), tf.float64), reports]
            # Loops and branches are TensorFlow's already: looking for Python's to turn into these takes a second.
            self._compiled[width] = tf.function(self._steps, input_signature=signature, autograph=False)
        return self._compiled[width]

    def _steps(self, rows: Row, rates: Tensor, reports: Tensor) -> Tensor:
        """For each step a row of numbers: the message, summed over the ranks, and this rank's diagnostics."""

        def one(step: Tensor, results: Tensor) -> tuple[Tensor, Tensor]:
            begin = tf.timestamp()
            with tf.control_dependencies([begin]):
                row = Row(*(tf.identity(values[step]) for values in rows))
            own = self._rank_sums(row)
            with tf.control_dependencies(list(own.sums.values())):
                seconds = tf.timestamp() - begin
            exchanged = self._exchanged(own, reports)
            self._optimizer.learning_rate.assign(tf.cast(rates[step], self._optimizer.learning_rate.dtype))
            skipped = tf.logical_not(self._update(exchanged))
            diagnostics = Diagnostics(skipped, seconds, own.sums["loss"][0])
            numbers = [tf.cast(each, reports.dtype) for each in diagnostics]
            return step + 1, results.write(step, tf.concat([exchanged.message, numbers], 0))

        steps = tf.shape(rates)[0]
        width = self._message.width + len(Diagnostics._fields)
        results = tf.TensorArray(reports.dtype, size=steps, element_shape=(width,))
        _, results = tf.while_loop(lambda step, _: step < steps, one, (0, results), parallel_iterations=1)
        return results.stack()

    def _update(self, exchanged: Gradients) -> Tensor:
        """Changes weights, moving statistics and average; whether it did so, which only float16 can prevent."""

        def update() -> Tensor:
            gradients, most = exchanged.gradients, self._regularisation.clip_norm
            if most is not None:
                gradients = clipped(gradients, min(most, float(gradients[0].dtype.max)))  # more is infinite
            self._optimizer.apply(gradients, self._model.trainable_variables)
            for variable, value in zip(self._model.non_trainable_variables, exchanged.statistics, strict=True):
                variable.assign(value)
            if self._average is not None:
                self._average.update(self._optimizer.iterations)
            return tf.constant(True)

        if self._loss_scale is None:
            return update()
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in exchanged.gradients])
        self._loss_scale.update(finite)
        return tf.cond(finite, update, lambda: tf.constant(False))

    def _exchanged(self, own: RankSums, reports: Tensor) -> Gradients:
        """The exchange of what a rank computed and reports."""
        scale = None if self._loss_scale is None else self._loss_scale.value
        products = iter(self._exchange.products(own.factors, reports.dtype))
        message = self._message.pack(own.sums, reports)
        sums, (*statistics, message) = self._exchange.sums(own.gradients, [*own.statistics, message])
        summed, gradients = iter(sums), []
        for variable in self._model.trainable_variables:
            gradient = next(products if variable.path in self._exchange.factored else summed)
            gradients.append(self._regularised(gradient if scale is None else gradient / scale, variable))
        return Gradients(gradients, message, statistics)

    def _rank_sums(self, row: Row) -> RankSums:
        """As `_sums`, of all samples of this rank, in as many pieces as need be."""
        samples = row[:4]
        width = row.keys.shape[0]
        pieces = 1 if self._micro_batch_size is None else -(-width // self._micro_batch_size)
        if pieces == 1:
            return self._piece_sums(*samples, row.counts)
        parts = [tf.reshape(values, (pieces, width // pieces, *values.shape[1:])) for values in samples]

        def piece(number: Tensor) -> RankSums:
            images, labels, keys, weights = (values[number] for values in parts)
            return self._piece_sums(images, labels, keys, weights, row.counts)

        # The first piece shows what there is to add up.
        first = piece(0)
        stacks = [(_stack_of(x, pieces), _stack_of(dy, pieces)) for x, dy in first.factors]

        def add(number: Tensor, totals: RankSums) -> tuple[Tensor, RankSums]:
            more = piece(number)
            gradients, statistics, sums = tf.nest.map_structure(tf.add, totals[:3], more[:3])
            stacked = [
                (x_stack.write(number, x), dy_stack.write(number, dy))
                for (x_stack, dy_stack), (x, dy) in zip(totals.factors, more.factors, strict=True)
            ]
            return number + 1, RankSums(gradients, statistics, sums, stacked)

        begin = (1, first._replace(factors=stacks))
        totals: RankSums
        _, totals = tf.while_loop(lambda number, _: number < pieces, add, begin, parallel_iterations=1)
        shapes = [[(width, *each.shape[1:]) for each in pair] for pair in first.factors]
        joint = [
            (tf.ensure_shape(x.concat(), x_shape), tf.ensure_shape(dy.concat(), dy_shape))
            for (x, dy), (x_shape, dy_shape) in zip(totals.factors, shapes, strict=True)
        ]
        return totals._replace(factors=joint)

    def _piece_sums(self, images: Tensor, labels: Tensor, keys: Tensor, weights: Tensor, count: Tensor) -> RankSums:
        mixed = self._feed.training_batch(images, labels, keys, weights, self._group_size)
        return self._forward_and_backward(*mixed, keys, weights, count)

    def _sums(
        self,
        images: Tensor,
        labels: Tensor,
        partners: Tensor,
        shares: Tensor,
        keys: Tensor,
        weights: Tensor,
        count: Tensor,
    ) -> RankSums:
        """Forward and backward of some samples of a global batch of `count`."""
        smoothing = self._regularisation.label_smoothing

        def losses_of(logits: Tensor) -> Tensor:
            own = cross_entropy(labels, logits, smoothing)
            if partners is None:
                return own
            return shares * own + (1 - shares) * cross_entropy(partners, logits, smoothing)

        batch = TrainingBatch(keys=keys, weights=weights, count=count, group_size=self._group_size)
        variables = self._model.trainable_variables
        summed = [variable.value for variable in variables if variable.path not in self._exchange.factored]
        with training_on(batch):
            outputs = self._model(images, training=True)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        logits, *auxiliary = (tf.cast(each, weights.dtype) for each in outputs)
        losses = losses_of(logits)
        for others in auxiliary:
            losses += _AUXILIARY_SHARE * losses_of(others)
        loss = tf.reduce_sum(losses * weights)
        share = loss / tf.cast(count, loss.dtype)  # here, where it costs nothing, and not in every gradient
        scaled = share if self._loss_scale is None else share * self._loss_scale.value
        said = {id(variable): value for variable, value in batch.statistics}
        factors = [batch.factors[each.path] for each in variables if each.path in self._exchange.factored]
        slopes = _gradients(scaled, [*summed, *(each.outputs for each in factors)])
        gradients, of_outputs = slopes[: len(summed)], slopes[len(summed) :]
        return RankSums(
            gradients,
            [said[id(variable)] for variable in self._model.non_trainable_variables],
            self._message.sums(Answers(losses, logits, labels), weights),
            [(each.inputs, slope) for each, slope in zip(factors, of_outputs, strict=True)],
        )

    def _regularised(self, gradient: Tensor, variable: Tensor) -> Tensor:
        if self._regularisation.l2 and variable.name == "kernel":
            return gradient + tf.constant(self._regularisation.l2, gradient.dtype) * variable.value
        return gradient


def _gradients(of: Tensor, by: list[Tensor]) -> list[Tensor]:
    """In a compiled step, the gradients of a scalar; those of a tensor with several users are added up two by two.

    A tape adds up three and more at once by AddN, which begins with whichever it may overwrite: which that is, and so
    the sum's last bits, depends on which operations have ended.
    """
    found: list[Tensor] = tf.gradients(of, by, aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE)
    return found


def _stack_of(first: Tensor, pieces: int) -> Tensor:
    """Takes tensors like the first, one behind the other."""
    return tf.TensorArray(first.dtype, pieces, element_shape=first.shape).write(0, first)
