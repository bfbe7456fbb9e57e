"""The training step whose results have the same bits for any number of workers and threads."""

import math
from typing import Any

import keras
import tensorflow as tf

from cnn.cluster.exchange.exchange import LocalExchange
from cnn.cluster.exchange.ordered_exchange import OrderedExchange
from cnn.data.feed.feed import Feed
from cnn.learner.step import TrainingStep
from cnn.learner.step_results import Gradients, RankSums, Row
from cnn.optim.regularisation import RegularisationSettings
from cnn.tensor import Tensor


class ReproducibleStep(TrainingStep):
    """A step that computes each group of samples by itself, always in the same shape, and adds up in a fixed order.

    What an operation rounds depends on its shape and, where it is divided among threads, on their number. So every
    group is computed alone, and every operation by a single thread (`take_devices`); several threads compute several
    groups. The sums over the groups are those of `SumTree`.

    Args:
        exchange: the exchange of the groups' sums.
        group_size: samples in a group, as in the plans.
        groups_at_once: maximum number of groups that are computed at the same time.

    The others are those of `TrainingStep`.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        feed: Feed,
        exchange: OrderedExchange,
        regularisation: RegularisationSettings,
        *,
        group_size: int,
        groups_at_once: int = 1,
        **options: Any,
    ) -> None:
        local = LocalExchange(exchange.factored)  # whose sums and products are not used
        super().__init__(model, optimizer, feed, local, regularisation, group_size=group_size, **options)
        self._ordered = exchange
        self._groups_at_once = groups_at_once
        summed = [variable for variable in model.trainable_variables if variable.path not in exchange.factored]
        shapes = [tuple(variable.shape) for variable in (*summed, *model.non_trainable_variables)]
        self._shapes = [*shapes, (self._message.sums_width,)]
        self._gradients = len(summed)

    def _rank_sums(self, row: Row) -> RankSums:
        """The rank's nodes of the tree (slots, length) as its only gradient, and no statistics.

        A node is a vector of the gradients, the statistics and the metrics' sums.
        """
        trees, group_size, dtype = self._ordered.trees, self._group_size, self._model.dtype
        table_row = self._row(row.counts)
        groups, merges = tf.constant(trees.own_groups)[table_row], tf.constant(trees.merges)[table_row]
        parts = [tf.reshape(each, (-1, group_size, *each.shape[1:])) for each in row[:4]]
        length = sum(map(math.prod, self._shapes))
        nodes = tf.TensorArray(dtype, trees.depth, element_shape=(length,), clear_after_read=False)
        stacks = [
            tf.TensorArray(self._model.compute_dtype, trees.largest_share, element_shape=(group_size, width))
            for width in self._factor_widths()
        ]

        def add(number: Tensor, top: Tensor, loss: Tensor, nodes: Any, stacks: Any) -> tuple[Tensor, ...]:
            self._traced["piece"] = tf.compat.v1.get_default_graph()
            images, labels, keys, weights = (values[number] for values in parts)
            sums = self._piece_sums(images, labels, keys, weights, row.counts)
            flat = tf.concat([tf.reshape(each, [-1]) for each in self._in_node(sums)], 0)
            top, flat = _merged(nodes, top, flat, merges[number])
            factors = [each for pair in sums.factors for each in pair]
            stacks = [stack.write(number, each) for stack, each in zip(stacks, factors, strict=True)]
            return number + 1, top + 1, loss + sums.sums["loss"], nodes.write(top, flat), stacks

        begin = (tf.constant(0), tf.constant(0), tf.zeros(1, dtype), nodes, stacks)
        _, _, loss, nodes, stacks = tf.while_loop(
            lambda number, *_: number < groups, add, begin, parallel_iterations=self._groups_at_once
        )
        rows = [tf.reshape(stack.stack(), (-1, stack.element_shape[1])) for stack in stacks]
        return RankSums([nodes.stack()], [], {"loss": loss}, list(zip(rows[::2], rows[1::2], strict=True)))

    def _exchanged(self, local: RankSums, reports: Tensor, count: Tensor) -> Gradients:
        row = self._row(count)
        products = self._ordered.products(local.factors, row, reports.dtype)
        total, summed_reports = self._ordered.sums(local.gradients[0], reports, row)
        parts = tf.split(total, [math.prod(shape) for shape in self._shapes])
        *tensors, message = [tf.reshape(part, shape) for part, shape in zip(parts, self._shapes, strict=True)]
        gradients = self._complete(tensors[: self._gradients], products)
        return Gradients(gradients, tf.concat([message, summed_reports], 0), tensors[self._gradients :])

    def _row(self, count: Tensor) -> Tensor:
        return self._ordered.row(-(-count // self._group_size))

    def _in_node(self, sums: RankSums) -> list[Tensor]:
        return [*sums.gradients, *sums.statistics, *self._message.ordered(sums.sums)]

    def _factor_widths(self) -> list[int]:
        """The numbers of columns of all factors, two for each factored kernel."""
        kernels = [each for each in self._model.trainable_variables if each.path in self._ordered.factored]
        return [width for kernel in kernels for width in kernel.shape]


def _merged(nodes: Any, top: Tensor, flat: Tensor, merges: Tensor) -> tuple[Tensor, Tensor]:
    """Adds the topmost nodes of a stack of `top` nodes to a vector; returns how many remain, and the sum."""
    last = top - merges

    def add(top: Tensor, flat: Tensor) -> tuple[Tensor, Tensor]:
        return top - 1, nodes.read(top - 1) + flat

    merged: tuple[Tensor, Tensor] = tf.while_loop(lambda top, _: top > last, add, (top, flat), parallel_iterations=1)
    return merged
