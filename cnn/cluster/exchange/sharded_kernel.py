"""Fully connected layers whose kernels are divided among the ranks, which compute every sample's products with them.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014. Each rank holds some rows of the
kernel. It gets the matching columns of all ranks' inputs, multiplies, and sends each rank the products of its samples,
which that rank adds up. The gradients go back the same ways. So no product is computed twice, the gradient of a rank's
rows needs no exchange, and no message is as large as a kernel.
"""

import keras
import tensorflow as tf

from cnn.cluster.exchange.exchange_cost import allgather_bytes, slice_height
from cnn.cluster.exchange.row_slice import RowSlice
from cnn.cluster.exchange.step_collectives import NothingSent, StepCollectives
from cnn.cluster.ranks.collectives import Cluster
from cnn.tensor import Tensor


class ShardedKernel:
    """A kernel (m, n) of which each of P ranks trains h = ceil(m / P) rows.

    Args:
        kernel: the network's own variable (m, n), which holds what the ranks have trained after `gather`.
        rows: this rank's rows.
        collectives: the collectives of the ranks.
    """

    def __init__(self, kernel: keras.Variable, rows: RowSlice, collectives: StepCollectives) -> None:
        self._kernel = kernel
        self._slice = rows
        self._collectives = collectives
        self._messages: dict[str, int] = {}

    @property
    def rows(self) -> keras.Variable:
        """This rank's rows (h, n), with the name and the path of the network's variable."""
        return self._slice.rows

    @property
    def sent_bytes(self) -> int:
        """Bytes that a rank sends for the samples of a call, counted when it was traced."""
        return sum(self._messages.values())

    def gather(self) -> None:
        """Assigns the rows of all ranks to the network's kernel; collective: every rank calls it."""
        self._kernel.assign(self._slice.whole())

    def cut(self) -> None:
        """Assigns this rank's rows of the network's kernel."""
        self._slice.assign(self._kernel.value)

    def slice_of(self, rows: keras.Variable) -> RowSlice:
        """A matrix of the kernel's shape that is divided likewise, such as an optimizer's slot, by this rank's rows."""
        return self._slice.like(rows)

    def joined(self, rows: Tensor) -> Tensor:
        """As `RowSlice.joined`, for the gradient of the rows for example."""
        return self._slice.joined(rows)

    def alone(self) -> "ShardedKernel":
        """The same without the other ranks: it computes as much, but sends nothing."""
        return ShardedKernel(self._kernel, self._slice, NothingSent(self._collectives.world_size))

    def __call__(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Multiplies a rank's inputs with the kernel, inside a compiled step.

        Args:
            inputs: (samples, m), of as many samples on every rank.

        Returns:
            Two tensors for the gradient of the rows, which is the product of the first, transposed, with the loss's
            gradient by the second: the matching columns (P x samples, h) of all ranks' inputs, and their products
            (P x samples, n) with the rows. Then the rank's outputs (samples, n).
        """
        columns = self._columns(inputs)
        partial = tf.matmul(columns, tf.cast(self.rows.value, columns.dtype))
        return columns, partial, self._outputs(partial)

    def _columns(self, inputs: Tensor) -> Tensor:
        """The columns (P x samples, h) of all ranks' inputs that this rank's rows are multiplied with."""
        (samples, width), ranks, height = inputs.shape, self._collectives.world_size, self.rows.shape[0]

        @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def columns(inputs: Tensor) -> tuple[Tensor, Tensor]:
            def gradient(upstream: Tensor) -> Tensor:
                parts = self._transposed(tf.reshape(upstream, (ranks, samples, height)), "input_gradients")
                return tf.reshape(tf.transpose(parts, (1, 0, 2)), (samples, ranks * height))[:, :width]

            filled = tf.pad(inputs, [(0, 0), (0, ranks * height - width)])
            parts = tf.transpose(tf.reshape(filled, (samples, ranks, height)), (1, 0, 2))
            return tf.reshape(self._transposed(parts, "inputs"), (ranks * samples, height)), gradient

        return columns(inputs)

    def _outputs(self, partial: Tensor) -> Tensor:
        """The rank's outputs (samples, n): the sums of all ranks' products of its samples, in the order of ranks."""
        ranks, width = self._collectives.world_size, partial.shape[1]

        @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def outputs(partial: Tensor) -> tuple[Tensor, Tensor]:
            def gradient(upstream: Tensor) -> Tensor:
                name = self._name("output_gradients")
                elements = upstream.shape.num_elements()
                self._messages[name] = allgather_bytes(elements, ranks, upstream.dtype.size)
                return tf.reshape(self._collectives.gather_in_graph(upstream, name), partial.shape)

            parts = self._transposed(tf.reshape(partial, (ranks, -1, width)), "outputs")
            return tf.cast(tf.reduce_sum(tf.cast(parts, self.rows.dtype), 0), partial.dtype), gradient

        return outputs(partial)

    def _transposed(self, parts: Tensor, role: str) -> Tensor:
        """Sends part r of (P, ...) to rank r; returns the parts that this rank gets."""
        name, ranks = self._name(role), self._collectives.world_size
        self._messages[name] = allgather_bytes(parts.shape.num_elements() // ranks, ranks, parts.dtype.size)
        return tf.ensure_shape(self._collectives.transpose_in_graph(parts, name), parts.shape)

    def _name(self, role: str) -> str:
        return f"sharded.{self.rows.path}.{role}"


def shard(cluster: Cluster, kernel: keras.Variable) -> ShardedKernel:
    """Divides the rows of a network's kernel (m, n) among the ranks."""
    scope, _, name = kernel.path.rpartition("/")
    height = slice_height(kernel.shape[0], cluster.world_size)
    with keras.name_scope(scope):
        rows = keras.Variable(tf.zeros((height, kernel.shape[1]), kernel.dtype), dtype=kernel.dtype, name=name)
    sharded = ShardedKernel(kernel, RowSlice(cluster, rows, kernel.shape[0]), cluster)
    sharded.cut()
    return sharded
