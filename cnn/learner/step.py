"""The training step, compiled so that one call runs several."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from cnn.cluster.devices.device_memory import peak_bytes, reset_peak
from cnn.cluster.exchange.exchange import Exchange
from cnn.data.feed.feed import Feed, Read
from cnn.data.order import Plan
from cnn.errors import RunError, is_out_of_device_memory
from cnn.learner.factor_stacks import joined, stacks_of, with_factors
from cnn.learner.gradient_checks import are_finite, norms_if
from cnn.learner.loss import cross_entropy, weighted
from cnn.learner.loss_scale import LossScale
from cnn.learner.metric_table import Answers
from cnn.learner.step_message import Reports, StepMessage
from cnn.learner.step_results import Diagnostics, Gradients, RankSums, Row, StepResults
from cnn.models.batch import TrainingBatch, training_on
from cnn.optim.averaging import WeightAverage
from cnn.optim.frozen_layers import statistics_of
from cnn.optim.norms import clipped
from cnn.optim.regularisation import RegularisationSettings
from cnn.tensor import Tensor

_AUXILIARY_SHARE = 0.3
"""Weight of an auxiliary classifier's loss; Szegedy et al., 2014, section 5."""

_NOTHING_TO_REPORT = Reports()


class TracedStep(NamedTuple):
    """The graphs of a step."""

    step: Any

    piece: Any | None
    """The loop over its micro-batches; None without one."""


class TrainingStep:
    """Runs training steps: forward, loss, backward, exchange, update.

    Gradients are means over the real samples of the global batch: each rank divides its summed loss by the number of
    these samples, which every rank knows from the plan, and the exchange sums the ranks' gradients. With class weights,
    too, the sum is divided by the number of samples, not by the sum of their weights, as Keras does.

    Args:
        model: a network that returns logits, or a list of logits and auxiliary logits.
        optimizer: an optimizer built for the model's trainable variables.
        feed: the source of images and labels.
        exchange: the exchange of gradients between the ranks.
        regularisation: L2, label smoothing and clipping; optimizer and average apply the other settings in it.
        group_size: samples that are normalised or mixed together, as in the plans.
        micro_batch_size: maximum number of samples that a rank computes at a time, as in the plans; None for all.
        class_weights: factors of the samples' losses, floating (classes,); None if all are 1.
        average: the moving average of the weights.
        loss_scale: the loss scale of float16.
        xla: compile forward and backward with XLA.
        timed: measure this rank's computing and exchange times, for which the host waits for a GPU in each step.
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
        class_weights: np.ndarray | None = None,
        average: WeightAverage | None = None,
        loss_scale: LossScale | None = None,
        xla: bool = False,
        timed: bool = False,
    ) -> None:
        self._model = model
        self._paths = [variable.path for variable in model.trainable_variables]
        self._trained = exchange.sharded.trained(model.trainable_variables)
        self._multiplied = exchange.factored.union(exchange.sharded)
        self._moving = statistics_of(model)
        self._optimizer = optimizer
        self._feed = feed
        self._exchange = exchange
        self._regularisation = regularisation
        self._group_size = group_size
        self._micro_batch_size = micro_batch_size
        self._class_weights = class_weights
        self._average = average
        self._loss_scale = loss_scale
        self._message = StepMessage(model.outputs[0].shape[-1])
        self._forward_and_backward = tf.function(self._sums, jit_compile=True, autograph=False) if xla else self._sums
        self._timed = timed
        self._compiled: dict[int, Any] = {}
        self._traced: dict[str, Any] = {}
        self.peak_bytes: int | None = None
        """Peak memory of the device during the steps run so far; None if TensorFlow does not count it."""

    def run(
        self,
        plan: Plan,
        learning_rates: np.ndarray,
        reports: Reports = _NOTHING_TO_REPORT,
        read: Read | None = None,
        *,
        with_norms: bool = False,
    ) -> StepResults:
        """Runs one step for each row of the plan, in one compiled call or as many as the feed's memory limit requires.

        Args:
            plan: this rank's part of the batches.
            learning_rates: floating (steps,).
            reports: this rank's reports; the results hold their sums over the ranks.
            read: the function of `reading_ahead`; None reads images when they are needed.
            with_norms: whether to compute the norms of the last step's gradients. Every rank says the same.

        Raises:
            RunError: the device's memory is too small for so many samples at a time.
        """
        steps, width = plan.indices.shape
        compiled, max_steps = self._compile(width), self._feed.max_steps(width)
        reset_peak()
        reported = tf.constant([float(each) for each in reports], self._model.dtype)
        parts = []
        for first in range(0, steps, max_steps):
            rates = tf.constant(learning_rates[first : first + max_steps], tf.float64)
            with_norms_of = tf.constant(steps - 1 - first if with_norms else -1)
            try:
                rows = self._rows(plan.part(first, first + max_steps), read)
                parts.append(compiled(rows, rates, reported, with_norms_of).numpy())
            except tf.errors.OpError as error:
                raise self._out_of_memory(width) if is_out_of_device_memory(error) else error from None
        peak = peak_bytes()
        self.peak_bytes = None if peak is None else max(peak, self.peak_bytes or 0)
        ends = np.cumsum([self._message.width, len(Diagnostics._fields)])
        messages, diagnostics, norms = np.split(np.concatenate(parts), ends, axis=1)
        paths = self._paths if with_norms else []
        skipped, *others = diagnostics.T
        totals, summed_reports = self._message.unpack(messages, plan.counts)
        of_last = dict(zip(paths, norms[-1].tolist(), strict=False))
        return StepResults(totals, summed_reports, Diagnostics(skipped > 0, *others), of_last)

    def reading_ahead(self, coming: Iterator[np.ndarray]) -> contextlib.AbstractContextManager[Read]:
        """A function for `run` that may read images before they are needed; see `Feed.reading_ahead`."""
        return self._feed.reading_ahead(coming)

    def _out_of_memory(self, width: int) -> RunError:
        samples = width if self._micro_batch_size is None else min(width, self._micro_batch_size)
        fewer = samples // 2 // self._group_size * self._group_size
        if fewer:
            advice = f"compute fewer at a time, which does not change the result: --micro_batch_size {fewer}"
        else:
            advice = "choose smaller images or another network" + ", or a smaller --group_size" * (self._group_size > 1)
        return RunError(f"the device's memory is too small for {samples:,} samples of a worker at a time: {advice}.")

    def gradients(self, plan: Plan, row: int = 0) -> list[np.ndarray]:
        """The exchanged mean gradients of one step of a plan, computed without an update."""
        batch = Row(*(values[0] for values in self._rows(plan.part(row, row + 1), None)))
        reports = tf.zeros(len(Reports._fields), self._model.dtype)
        compiled = tf.function(lambda: self._exchanged(self._rank_sums(batch), reports, batch.counts), autograph=False)
        exchanged = zip(self._paths, compiled().gradients, strict=True)
        return [self._exchange.sharded.whole(path, gradient).numpy() for path, gradient in exchanged]

    @property
    def has_run(self) -> bool:
        """Whether a step has been traced, as the first call does."""
        return "step" in self._traced

    def trace(self, width: int) -> TracedStep:
        """The graph of a step of `width` samples per rank, which is traced unless it has run already."""
        self._compile(width).get_concrete_function()
        return TracedStep(self._traced["step"], self._traced.get("piece"))

    def _rows(self, plan: Plan, read: Read | None) -> Row:
        weights, counts = tf.constant(plan.weights, self._model.dtype), tf.constant(plan.counts, tf.int64)
        return Row(*(read or self._feed.read)(plan.indices), tf.constant(plan.keys), weights, counts)

    def _compile(self, width: int) -> Any:
        """The compiled function for any number of steps of `width` samples per rank."""
        if width not in self._compiled:
            rows = Row(
                *self._feed.specs(width),
                keys=tf.TensorSpec((None, width), tf.uint32),
                weights=tf.TensorSpec((None, width), self._model.dtype),
                counts=tf.TensorSpec((None,), tf.int64),
            )
            reports = tf.TensorSpec((len(Reports._fields),), self._model.dtype)
            signature = [rows, tf.TensorSpec((None,), tf.float64), reports, tf.TensorSpec((), tf.int32)]
            # Loops and branches are TensorFlow operations already: AutoGraph would search for Python's for a second.
            self._compiled[width] = tf.function(self._steps, input_signature=signature, autograph=False)
        return self._compiled[width]

    def _steps(self, rows: Row, rates: Tensor, reports: Tensor, with_norms_of: Tensor) -> Tensor:
        """Runs the steps; returns a row for each: the message, summed over the ranks, this rank's diagnostics, and the
        gradients' norms, which are zeros except in one step."""

        def run_step(step: Tensor, results: Tensor) -> tuple[Tensor, Tensor]:
            self._traced["step"] = tf.compat.v1.get_default_graph()
            begin = self._time_after([])
            with tf.control_dependencies([begin]):
                row = Row(*(tf.identity(values[step]) for values in rows))
            local = self._rank_sums(row)
            # The loss is the last that is computed without competing with the exchange, which waits for other ranks.
            loss = self._time_after(list(local.sums.values()))
            computed = self._time_after(tf.nest.flatten([local.gradients, local.factors, local.statistics]))
            exchanged = self._exchanged(local, reports, row.counts)
            end = self._time_after([*exchanged.gradients, exchanged.message, *exchanged.statistics])
            self._optimizer.learning_rate.assign(tf.cast(rates[step], self._optimizer.learning_rate.dtype))
            skipped = tf.logical_not(self._update(exchanged))
            diagnostics = Diagnostics(skipped, loss - begin, computed - begin, end - computed, local.sums["loss"][0])
            numbers = [tf.cast(each, reports.dtype) for each in diagnostics]
            norms = norms_if(tf.equal(step, with_norms_of), exchanged.gradients, self._completed)
            parts = [exchanged.message, numbers, tf.cast(norms, reports.dtype)]
            return step + 1, results.write(step, tf.concat(parts, 0))

        steps = tf.shape(rates)[0]
        width = self._message.width + len(Diagnostics._fields) + len(self._trained)
        results = tf.TensorArray(reports.dtype, size=steps, element_shape=(width,))
        # The loop is part of the graph, so that Python's time for a call does not limit small networks; one step at a
        # time, as each reads the weights that the previous one wrote.
        _, results = tf.while_loop(lambda step, _: step < steps, run_step, (0, results), parallel_iterations=1)
        return results.stack()

    def _time_after(self, tensors: list[Tensor]) -> Tensor:
        """The time at which the tensors have been computed, float64 seconds; 0 if not timed. Delays nothing else."""
        if not self._timed:
            return tf.zeros((), tf.float64)
        with tf.control_dependencies(tensors):
            return tf.timestamp()

    def _update(self, exchanged: Gradients) -> Tensor:
        """Updates weights, moving statistics and average; returns whether it did: a float16 step may be skipped."""

        def update() -> Tensor:
            # Clipped after the exchange: the limit is for the norm of the global batch's gradients.
            gradients, clip_norm = exchanged.gradients, self._regularisation.clip_norm
            if clip_norm is not None:
                limit = min(clip_norm, float(gradients[0].dtype.max))  # more is infinite
                gradients = clipped(gradients, limit, self._completed)
            self._optimizer.apply(gradients, self._trained)
            for variable, value in zip(self._moving, exchanged.statistics, strict=True):
                variable.assign(value)
            if self._average is not None:
                self._average.update(self._optimizer.iterations)
            return tf.constant(True)

        if self._loss_scale is None:
            return update()
        # An overflow would leave NaN in the weights. All ranks decide alike, as they test the same exchanged gradients.
        finite = are_finite(exchanged.gradients, self._completed)
        self._loss_scale.update(finite)
        return tf.cond(finite, update, lambda: tf.constant(False))

    def _completed(self, sums: Tensor, name: str) -> Tensor:
        return self._exchange.sharded.completed(sums, self._paths, name)

    def _exchanged(self, local: RankSums, reports: Tensor, count: Tensor) -> Gradients:
        """Exchanges a rank's sums and reports in a step of `count` samples."""
        multiplied = [path for path in self._paths if path in self._multiplied]
        products = [
            self._exchange.product(path, x, dy, reports.dtype)
            for path, (x, dy) in zip(multiplied, local.factors, strict=True)
        ]
        message = self._message.pack(local.sums, reports)
        # Statistics, metrics and reports share the gradients' buckets: a message of their own would cost its latency.
        sums, (*statistics, message) = self._exchange.sums(local.gradients, [*local.statistics, message])
        return Gradients(self._complete(sums, products), message, statistics)

    def _complete(self, sums: list[Tensor], products: list[Tensor]) -> list[Tensor]:
        """All variables' gradients, L2 included, from those that were summed and those that are products."""
        scale = None if self._loss_scale is None else self._loss_scale.value
        summed, multiplied, gradients = iter(sums), iter(products), []
        for variable in self._trained:
            gradient = next(multiplied if variable.path in self._multiplied else summed)
            # L2 comes after the sum and the division by the loss scale, so that it counts exactly once.
            gradients.append(self._regularised(gradient if scale is None else gradient / scale, variable))
        return gradients

    def _rank_sums(self, row: Row) -> RankSums:
        """As `_sums`, for all samples of this rank, in pieces of at most `micro_batch_size`."""
        samples = row[:4]
        width = row.keys.shape[0]
        pieces = 1 if self._micro_batch_size is None else -(-width // self._micro_batch_size)
        if self._exchange.sharded:
            self._exchange.sharded.micro_batches = pieces
        if pieces == 1:
            return self._piece_sums(*samples, row.counts)
        parts = [tf.reshape(values, (pieces, width // pieces, *values.shape[1:])) for values in samples]

        def piece(number: Tensor) -> RankSums:
            images, labels, keys, weights = (values[number] for values in parts)
            return self._piece_sums(images, labels, keys, weights, row.counts)

        # The first piece is computed outside the loop, whose variables need its structure and shapes.
        with tf.name_scope("first"):  # so that its messages have names of their own
            first = piece(0)

        def add(number: Tensor, totals: RankSums) -> tuple[Tensor, RankSums]:
            self._traced["piece"] = tf.compat.v1.get_default_graph()
            more = piece(number)
            gradients, statistics, sums = tf.nest.map_structure(tf.add, totals[:3], more[:3])
            stacks = with_factors(totals.factors, number, more.factors)
            return number + 1, RankSums(gradients, statistics, sums, stacks)

        begin = (1, first._replace(factors=stacks_of(first.factors, pieces)))
        totals: RankSums
        # One piece at a time, so that memory holds the activations of one; in order, so that sums keep their bits.
        _, totals = tf.while_loop(lambda number, _: number < pieces, add, begin, parallel_iterations=1)
        return totals._replace(factors=joined(totals.factors, first.factors, pieces))

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
        """Forward and backward pass of some samples of a global batch of `count` real samples."""

        def losses_for(targets: Tensor, logits: Tensor) -> Tensor:
            losses = cross_entropy(targets, logits, self._regularisation.label_smoothing)
            return weighted(losses, targets, self._class_weights)

        def losses_of(logits: Tensor) -> Tensor:
            of_labels = losses_for(labels, logits)
            if partners is None:
                return of_labels
            return shares * of_labels + (1 - shares) * losses_for(partners, logits)

        batch = TrainingBatch(
            keys=keys, weights=weights, count=count, group_size=self._group_size, divided=self._exchange.sharded
        )
        summed = [variable.value for variable in self._trained if variable.path not in self._multiplied]
        with training_on(batch):
            outputs = self._model(images, training=True)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        logits, *auxiliary = (tf.cast(each, weights.dtype) for each in outputs)
        losses = losses_of(logits)
        for others in auxiliary:
            losses += _AUXILIARY_SHARE * losses_of(others)
        loss = tf.reduce_sum(losses * weights)
        share = loss / tf.cast(count, loss.dtype)  # one division, instead of one of each gradient
        scaled = share if self._loss_scale is None else share * self._loss_scale.value
        statistics = {id(variable): value for variable, value in batch.statistics}
        factors = [batch.factors[path] for path in self._paths if path in self._multiplied]
        # The gradient of a factored or sharded kernel is never computed here: its factors are inputs of the layer and
        # gradients of the outputs.
        derivatives = _gradients(scaled, [*summed, *(each.outputs for each in factors)])
        gradients, output_gradients = derivatives[: len(summed)], derivatives[len(summed) :]
        return RankSums(
            gradients,
            [statistics[id(variable)] for variable in self._moving],
            self._message.sums(Answers(losses, logits, labels), weights),
            [(each.inputs, gradient) for each, gradient in zip(factors, output_gradients, strict=True)],
        )

    def _regularised(self, gradient: Tensor, variable: Tensor) -> Tensor:
        if self._regularisation.l2 and variable.name == "kernel":
            return gradient + tf.constant(self._regularisation.l2, gradient.dtype) * variable.value
        return gradient


def _gradients(loss: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """The gradients of a scalar in a compiled step; contributions of a tensor's several users are added in pairs.

    A tape adds three or more with AddN, which starts with any summand that it may overwrite: which one that is, and so
    the sum's last bits, depends on which operations have finished.
    """
    found: list[Tensor] = tf.gradients(loss, tensors, aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE)
    return found
