"""The exchange of gradients inside a compiled step: sums over the ranks, and products of factors."""

from collections.abc import Sequence
from typing import Any, Protocol

import tensorflow as tf

from cnn.cluster.exchange.buckets import even_parts, make_buckets
from cnn.cluster.exchange.exchange_cost import LARGEST_BUCKET, allgather_bytes, allreduce_bytes
from cnn.cluster.exchange.sharded_kernels import NOT_SHARDED, ShardedKernels
from cnn.cluster.ranks.collectives import Cluster
from cnn.tensor import Tensor


class Exchange(Protocol):
    """Computes the gradients of the global batch, the same on every rank."""

    factored: frozenset[str]
    """Paths of the kernels whose gradients are computed from the factors of all ranks."""

    sharded: ShardedKernels
    """The kernels that are divided among the ranks."""

    @property
    def sent_bytes(self) -> int:
        """Bytes that a rank sends in a step, counted message by message when the step was traced."""

    def sums(self, gradients: Sequence[Tensor], others: Sequence[Tensor] = ()) -> tuple[list[Tensor], list[Tensor]]:
        """Adds up tensors over the ranks, keeping their order.

        Args:
            gradients: tensors of one dtype and static shapes, which may be compressed.
            others: tensors of the same dtype and static shapes, which are never compressed.
        """

    def product(self, path: str, x: Tensor, dy: Tensor, dtype: Any) -> Tensor:
        """The gradient of a factored or sharded kernel, of type `dtype`.

        Args:
            path: the kernel's path.
            x: its first factor. Of a factored kernel (m, n) this is (samples, m), the rank's inputs. Of a sharded one
                it is (ranks x samples, h), the columns of all ranks' inputs that are multiplied with the rank's rows.
            dy: its second factor: the loss's gradient by the products, (samples, n) or (ranks x samples, n).

        Returns:
            The sum over the ranks of x^T dy (m, n). Of a sharded kernel, x^T dy (h, n): the gradient of the rank's
            rows, which is complete.
        """

    def alone(self) -> "Exchange":
        """An exchange without the other ranks, to measure what this one costs."""


class LocalExchange:
    """The exchange of a single rank: the identity."""

    sent_bytes = 0

    def __init__(self, factored: frozenset[str] = frozenset(), sharded: ShardedKernels = NOT_SHARDED) -> None:
        self.factored = factored
        self.sharded = sharded

    def sums(self, gradients: Sequence[Tensor], others: Sequence[Tensor] = ()) -> tuple[list[Tensor], list[Tensor]]:
        return list(gradients), list(others)

    def product(self, path: str, x: Tensor, dy: Tensor, dtype: Any) -> Tensor:
        return product(x, dy, dtype)

    def alone(self) -> "LocalExchange":
        return self


class GradientExchange:
    """The exchange between several ranks.

    The result is the same on every rank and from run to run: a bucket always holds the same tensors, and each bucket is
    a separate allreduce. For factored kernels, the factors of all ranks are gathered and every rank multiplies them
    (Xie et al., "Poseidon", USENIX ATC 2017, "sufficient factor broadcasting").

    Args:
        cluster: the workers.
        factored: paths of the kernels that are exchanged as factors.
        sharded: the kernels that are divided among the ranks.
        bucket_bytes: approximate bytes per message; small tensors share a message, larger ones are split. With
            LARGEST_BUCKET tensors are not split: on links so fast, copying the pieces would cost more.
        compressed: send gradients and factors as float16: half the bytes, but not exact.
    """

    def __init__(
        self,
        cluster: Cluster,
        factored: frozenset[str] = frozenset(),
        bucket_bytes: int = LARGEST_BUCKET,
        *,
        sharded: ShardedKernels = NOT_SHARDED,
        compressed: bool = False,
    ) -> None:
        self.factored = factored
        self.sharded = sharded
        self._compressed = compressed
        self._cluster = cluster
        self._bucket_bytes = bucket_bytes
        self._messages: dict[str, int] = {}

    @property
    def sent_bytes(self) -> int:
        return sum(self._messages.values()) + self.sharded.sent_bytes

    def sums(self, gradients: Sequence[Tensor], others: Sequence[Tensor] = ()) -> tuple[list[Tensor], list[Tensor]]:
        if not self._compressed:
            joint = self._sums([*gradients, *others], "gradients")
            return joint[: len(gradients)], joint[len(gradients) :]
        short = self._sums([tf.cast(each, tf.float16) for each in gradients], "gradients")
        sums = [tf.cast(each, gradient.dtype) for each, gradient in zip(short, gradients, strict=True)]
        return sums, self._sums(others, "exact")

    def _sums(self, tensors: Sequence[Tensor], name: str) -> list[Tensor]:
        pieces: list[Tensor] = []
        counts: list[int] = []
        for tensor in tensors:
            flat = tf.reshape(tensor, [-1])
            sizes = self._piece_sizes(flat.shape[0], flat.dtype.size)
            pieces += [flat] if len(sizes) == 1 else tf.split(flat, sizes)
            counts.append(len(sizes))
        summed = iter(self._sums_of_flat(pieces, name))
        return [
            tf.reshape(_joined([next(summed) for _ in range(count)]), tensor.shape)
            for tensor, count in zip(tensors, counts, strict=True)
        ]

    def _piece_sizes(self, size: int, element_bytes: int) -> list[int]:
        """The numbers of elements of the messages that `size` elements are split into."""
        if self._bucket_bytes >= LARGEST_BUCKET:
            return [size]
        return even_parts(size, -(-size * element_bytes // self._bucket_bytes))

    def _sums_of_flat(self, flats: Sequence[Tensor], name: str) -> list[Tensor]:
        sums: list[Tensor] = [None] * len(flats)
        sizes = [flat.shape[0] * flat.dtype.size for flat in flats]
        for number, bucket in enumerate(make_buckets(sizes, self._bucket_bytes)):
            joint = _joined([flats[index] for index in bucket])
            total = self._cluster.sum_in_graph(joint, f"{name}.{number}")
            size, dtype = joint.shape[0], joint.dtype
            self._messages[f"{name}.{number}"] = allreduce_bytes(size, self._cluster.world_size, dtype.size)
            parts = tf.split(total, [flats[index].shape[0] for index in bucket]) if len(bucket) > 1 else [total]
            for index, part in zip(bucket, parts, strict=True):
                sums[index] = part
        return sums

    def alone(self) -> LocalExchange:
        return LocalExchange(sharded=self.sharded.alone())

    def product(self, path: str, x: Tensor, dy: Tensor, dtype: Any) -> Tensor:
        if path in self.sharded:
            return product(x, dy, dtype)
        if self._compressed and x.dtype.size > 2:
            x, dy = tf.cast(x, tf.float16), tf.cast(dy, tf.float16)
        # The order of the samples does not matter, but must be the same for both factors. The inputs are available long
        # before the gradients, and are sent while the layers above are computed.
        rows = self._piece_sizes(x.shape[0], x.shape[1] * x.dtype.size)
        gathered = {}
        for role, factor in (("inputs", x), ("outputs", dy)):
            parts = tf.split(factor, rows)
            gathered[role] = _joined([self._gathered(part, f"{role}.{path}.{n}") for n, part in enumerate(parts)])
        return product(gathered["inputs"], gathered["outputs"], dtype)

    def _gathered(self, tensor: Tensor, name: str) -> Tensor:
        shape = (None, *tensor.shape[1:])
        elements = tensor.shape.num_elements()
        self._messages[name] = allgather_bytes(elements, self._cluster.world_size, tensor.dtype.size)
        return tf.ensure_shape(self._cluster.gather_in_graph(tensor, name), shape)


def make_exchange(
    cluster: Cluster,
    factored: frozenset[str] = frozenset(),
    bucket_bytes: int = LARGEST_BUCKET,
    *,
    sharded: ShardedKernels = NOT_SHARDED,
    compressed: bool = False,
) -> Exchange:
    """Creates the exchange for a job."""
    if cluster.world_size == 1:
        return LocalExchange()
    return GradientExchange(cluster, factored, bucket_bytes, sharded=sharded, compressed=compressed)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, 0)


def product(x: Tensor, dy: Tensor, dtype: Any) -> Tensor:
    """x^T dy (m, n) of x (samples, m) and dy (samples, n), accumulated in `dtype`, whatever type the factors have."""
    return tf.matmul(tf.cast(x, dtype), tf.cast(dy, dtype), transpose_a=True)
