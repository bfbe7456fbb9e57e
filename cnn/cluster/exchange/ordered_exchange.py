"""The exchange inside a compiled step whose sums have the same bits for any number of ranks."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from cnn.cluster.exchange.exchange import product
from cnn.cluster.exchange.exchange_cost import allgather_bytes
from cnn.cluster.exchange.sharded_kernels import NOT_SHARDED
from cnn.cluster.exchange.sum_tree import SumTrees
from cnn.cluster.ranks.collectives import Cluster
from cnn.tensor import Tensor


class OrderedExchange:
    """Adds up sums over groups of samples in the order of a fixed tree (`SumTree`), and multiplies gathered factors in
    the order of the samples.

    Every rank gets an equal slice of all ranks' nodes, finishes the tree for it, and sends the result to all.

    Args:
        cluster: the workers.
        trees: the trees of the run's batches.
        factored: paths of the kernels that are exchanged as factors.
        alone: leave all other ranks' samples out and exchange nothing, to measure what the exchange costs.
    """

    sharded = NOT_SHARDED

    def __init__(
        self, cluster: Cluster, trees: SumTrees, factored: frozenset[str] = frozenset(), *, alone: bool = False
    ) -> None:
        self.trees = trees
        self.factored = factored
        self._cluster = cluster
        self._alone = alone or cluster.world_size == 1
        self._messages: dict[str, int] = {}

    @property
    def sent_bytes(self) -> int:
        """Bytes that a rank sends in a step of the largest batch, counted message by message when it was traced."""
        return sum(self._messages.values())

    def alone(self) -> "OrderedExchange":
        """The same without the other ranks."""
        return OrderedExchange(self._cluster, self.trees, self.factored, alone=True)

    def row(self, groups: Tensor) -> Tensor:
        """The row of the trees' tables, int32 (), of a batch of so many groups, int64 ()."""
        return tf.argmax(tf.equal(tf.constant(self.trees.group_counts), groups), output_type=tf.int32)

    def sums(self, nodes: Tensor, others: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        """Finishes a batch's sums.

        Args:
            nodes: the rank's nodes (slots, length), as `SumTree` describes them; further ones are ignored.
            others: a short tensor (n,) of the same dtype, whose sums over the ranks need not have the same bits.
            row: the batch's row of the tables.

        Returns:
            The sums (length,) and (n,), on every rank.
        """
        length, ranks, trees = nodes.shape[1], self.trees.world_size, self.trees
        if self._alone:
            return _finished(nodes, tf.constant(trees.own_additions)[row], tf.constant(0)), others
        slots, width = tf.constant(trees.slots)[row], -(-length // ranks)
        slices = tf.reshape(tf.pad(nodes[:slots], [(0, 0), (0, width * ranks - length)]), (slots, ranks, width))
        mine = self._cluster.transpose_in_graph(tf.transpose(slices, (1, 0, 2)), "nodes")
        mine = tf.ensure_shape(tf.reshape(mine, (-1, width)), (None, width))
        total = _finished(mine, tf.constant(trees.additions)[row], tf.constant(trees.roots)[row])
        joint = self._cluster.gather_in_graph(tf.concat([total, others], 0), "sums")
        joint = tf.reshape(joint, (ranks, width + others.shape[0]))
        node_bytes = int(trees.slots[-1]) * width * nodes.dtype.size
        self._messages["nodes"] = (ranks - 1) * node_bytes
        self._messages["sums"] = allgather_bytes(width + others.shape[0], ranks, nodes.dtype.size)
        return tf.reshape(joint[:, :width], [-1])[:length], tf.reduce_sum(joint[:, width:], 0)

    def products(self, factors: Sequence[tuple[Tensor, Tensor]], row: Tensor, dtype: Any) -> list[Tensor]:
        """For each x (samples, m) and dy (samples, n), the sum over the batch of x^T dy (m, n), of type `dtype`.

        All ranks multiply all factors, in one shape. The samples of a rank are those of its groups, filled up to the
        largest share.
        """
        return [
            product(self._in_order(x, f"inputs.{number}", row), self._in_order(dy, f"outputs.{number}", row), dtype)
            for number, (x, dy) in enumerate(factors)
        ]

    def _in_order(self, factor: Tensor, name: str, row: Tensor) -> Tensor:
        """All ranks' rows of a factor in the order of the batch's samples; zeros where the batch has no group."""
        trees = self.trees
        group_size, width = factor.shape[0] // trees.largest_share, factor.shape[1]
        if self._alone:
            places = tf.range(trees.places.shape[1])
            places = tf.where(places < tf.constant(trees.own_groups)[row], places, -1)
        else:
            places = tf.constant(trees.places)[row]
            elements = factor.shape.num_elements()
            self._messages[name] = allgather_bytes(elements, trees.world_size, factor.dtype.size)
            factor = self._cluster.gather_in_graph(factor, name)
        groups = tf.gather(tf.reshape(factor, (-1, group_size, width)), tf.maximum(places, 0))
        present = tf.where(places[:, tf.newaxis, tf.newaxis] >= 0, groups, tf.zeros((), factor.dtype))
        return tf.reshape(present, (trees.places.shape[1] * group_size, width))


def _finished(nodes: Tensor, additions: Tensor, root: Tensor) -> Tensor:
    """Adds nodes (slots, length) up; returns that of the root.

    Args:
        nodes: the nodes.
        additions: pairs of slots (n, 2), the second of which is added to the first; a pair of -1 ends them.
        root: the slot that then holds the sum.
    """
    stacked = tf.TensorArray(nodes.dtype, tf.shape(nodes)[0], element_shape=nodes.shape[1:], clear_after_read=False)

    def add(number: Tensor, slots: tf.TensorArray) -> tuple[Tensor, tf.TensorArray]:
        left, right = additions[number, 0], additions[number, 1]
        return number + 1, slots.write(left, slots.read(left) + slots.read(right))

    _, slots = tf.while_loop(
        lambda number, _: additions[number, 0] >= 0,
        add,
        (tf.constant(0), stacked.unstack(nodes)),
        parallel_iterations=1,
    )
    return slots.read(root)
