"""The exchange of gradients inside a compiled step: sums over the ranks, and products of what all ranks have."""

from collections.abc import Sequence
from typing import Any, Protocol

import tensorflow as tf

from cnn.cluster.buckets import even_parts, make_buckets
from cnn.cluster.collectives import Cluster
from cnn.cluster.exchange_cost import LARGEST_BUCKET
from cnn.tensor import Tensor


class Exchange(Protocol):
    """Gives every rank the same gradients, those of the global batch."""

    factored: frozenset[str]
    """Paths of the kernels whose gradients `products` makes."""

    def sums(self, gradients: Sequence[Tensor], others: Sequence[Tensor] = ()) -> tuple[list[Tensor], list[Tensor]]:
        """Tensors of one dtype and known shapes in; their sums over the ranks out, in the same order.

        Args:
            gradients: may be compressed.
            others: are exact always.
        """

    def products(self, factors: Sequence[tuple[Tensor, Tensor]], kind: Any) -> list[Tensor]:
        """For each x (samples, m) and dy (samples, n) the sum over the ranks of x^T dy (m, n), of dtype `kind`."""


class LocalExchange:
    """That of one rank, which has nothing to exchange."""

    def __init__(self, factored: frozenset[str] = frozenset()) -> None:
        self.factored = factored

    def sums(self, gradients: Sequence[Tensor], others: Sequence[Tensor] = ()) -> tuple[list[Tensor], list[Tensor]]:
        return list(gradients), list(others)

    def products(self, factors: Sequence[tuple[Tensor, Tensor]], kind: Any) -> list[Tensor]:
        return [product(x, dy, kind) for x, dy in factors]


class GradientExchange:
    """That of all ranks of a job.

    The result is the same on every rank and from run to run: buckets hold the same tensors always, and each is one
    allreduce of its own. Of factored kernels the factors of all ranks are gathered, and every rank multiplies them
    (Xie et al., "Poseidon", USENIX ATC 2017, "sufficient factor broadcasting").

    Args:
        cluster: the job.
        factored: paths of the kernels exchanged so.
        bucket_bytes: about what a message holds; small tensors share one, larger ones are cut up. Tensors are not cut
            where this is LARGEST_BUCKET: a link that is worth it is so fast that copying the pieces would cost more.
        compressed: send gradients and factors as float16, half the bytes, which is not exact.
    """

    def __init__(
        self,
        cluster: Cluster,
        factored: frozenset[str] = frozenset(),
        bucket_bytes: int = LARGEST_BUCKET,
        *,
        compressed: bool = False,
    ) -> None:
        self.factored = factored
        self._compressed = compressed
        self._cluster = cluster
        self._bucket_bytes = bucket_bytes

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
            parts = self._pieces(flat.shape[0], flat.dtype.size)
            pieces += [flat] if len(parts) == 1 else tf.split(flat, parts)
            counts.append(len(parts))
        summed = iter(self._sums_of_flat(pieces, name))
        return [
            tf.reshape(_joined([next(summed) for _ in range(count)]), tensor.shape)
            for tensor, count in zip(tensors, counts, strict=True)
        ]

    def _pieces(self, size: int, number_bytes: int) -> list[int]:
        """How many of `size` numbers each message of them holds."""
        if self._bucket_bytes >= LARGEST_BUCKET:
            return [size]
        return even_parts(size, -(-size * number_bytes // self._bucket_bytes))

    def _sums_of_flat(self, flats: Sequence[Tensor], name: str) -> list[Tensor]:
        sums: list[Tensor] = [None] * len(flats)
        sizes = [flat.shape[0] * flat.dtype.size for flat in flats]
        for number, bucket in enumerate(make_buckets(sizes, self._bucket_bytes)):
            joint = _joined([flats[position] for position in bucket])
            total = self._cluster.sum_in_graph(joint, f"{name}.{number}")
            parts = tf.split(total, [flats[position].shape[0] for position in bucket]) if len(bucket) > 1 else [total]
            for position, part in zip(bucket, parts, strict=True):
                sums[position] = part
        return sums

    def products(self, factors: Sequence[tuple[Tensor, Tensor]], kind: Any) -> list[Tensor]:
        return [self._gathered_product(number, x, dy, kind) for number, (x, dy) in enumerate(factors)]

    def _gathered_product(self, number: int, x: Tensor, dy: Tensor, kind: Any) -> Tensor:
        if self._compressed and x.dtype.size > 2:
            x, dy = tf.cast(x, tf.float16), tf.cast(dy, tf.float16)
        # Samples may come in any order, but both factors' in the same. Inputs are there long before gradients, and
        # travel while the layers above are computed.
        rows = self._pieces(x.shape[0], x.shape[1] * x.dtype.size)
        gathered = {}
        for what, factor in (("inputs", x), ("outputs", dy)):
            parts = tf.split(factor, rows)
            gathered[what] = _joined([self._gathered(part, f"{what}.{number}.{n}") for n, part in enumerate(parts)])
        return product(gathered["inputs"], gathered["outputs"], kind)

    def _gathered(self, tensor: Tensor, name: str) -> Tensor:
        shape = (None, *tensor.shape[1:])
        if tensor.dtype != tf.bfloat16:
            return tf.ensure_shape(self._cluster.gather_in_graph(tensor, name), shape)
        # Horovod knows no bfloat16, but copies what it is told are integers.
        joint = self._cluster.gather_in_graph(tf.bitcast(tensor, tf.uint16), name)
        return tf.ensure_shape(tf.bitcast(joint, tf.bfloat16), shape)


def make_exchange(
    cluster: Cluster,
    factored: frozenset[str] = frozenset(),
    bucket_bytes: int = LARGEST_BUCKET,
    *,
    compressed: bool = False,
) -> Exchange:
    """The exchange for a job."""
    if cluster.world_size == 1:
        return LocalExchange()
    return GradientExchange(cluster, factored, bucket_bytes, compressed=compressed)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, 0)


def product(x: Tensor, dy: Tensor, kind: Any) -> Tensor:
    """x^T dy (m, n) of x (samples, m) and dy (samples, n), added up in `kind`, whatever type the factors have."""
    return tf.matmul(tf.cast(x, kind), tf.cast(dy, kind), transpose_a=True)
