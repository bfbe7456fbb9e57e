"""All kernels of a network that are divided among the ranks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from cnn.cluster.exchange.sharded_kernel import ShardedKernel
from cnn.cluster.exchange.step_collectives import NothingSent, StepCollectives
from cnn.tensor import Tensor


class ShardedKernels(Mapping[str, ShardedKernel]):
    """The divided kernels by their paths.

    Args:
        kernels: the kernels.
        collectives: the collectives of the ranks.
    """

    def __init__(self, kernels: Sequence[ShardedKernel], collectives: StepCollectives) -> None:
        self._kernels = {kernel.rows.path: kernel for kernel in kernels}
        self._collectives = collectives
        self.micro_batches = 1
        """The number of micro-batches in a step, each of which has messages of its own."""

    def __getitem__(self, path: str) -> ShardedKernel:
        return self._kernels[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kernels)

    def __len__(self) -> int:
        return len(self._kernels)

    @property
    def sent_bytes(self) -> int:
        """Bytes that a rank sends for them in a step, counted when it was traced."""
        return self.micro_batches * sum(kernel.sent_bytes for kernel in self.values())

    def trained(self, variables: Sequence[Any]) -> list[Any]:
        """The variables that a rank trains: a network's own ones, and in place of divided kernels its rows of them."""
        return [self[each.path].rows if each.path in self else each for each in variables]

    def gather(self) -> None:
        """Assigns all ranks' rows to the network's kernels; collective: every rank calls it."""
        for kernel in self.values():
            kernel.gather()

    def cut(self) -> None:
        """Assigns this rank's rows of the network's kernels."""
        for kernel in self.values():
            kernel.cut()

    def whole(self, path: str, tensor: Tensor) -> Tensor:
        """A tensor of a variable's shape; of a divided kernel it joins all ranks' rows, and every rank calls it.

        Args:
            path: the variable's path.
            tensor: this rank's rows (h, n) of such a tensor if the kernel is divided, else all of it.
        """
        return self[path].joined(tensor) if path in self else tensor

    def completed(self, sums: Tensor, paths: Sequence[str], name: str) -> Tensor:
        """Sums over whole variables, or over their gradients, the same on every rank, inside a compiled step.

        Args:
            sums: (variables,), those of divided kernels over this rank's rows, the others over the whole.
            paths: the variables' paths.
            name: as for the collectives; every rank makes the same calls.
        """
        divided = [path in self for path in paths]
        if not any(divided):
            return sums
        gathered = self._collectives.gather_in_graph(sums, f"sharded.{name}")
        # Added in the order of ranks, which a sum by MPI need not keep.
        totals = tf.reduce_sum(tf.reshape(gathered, (self._collectives.world_size, len(divided))), 0)
        return tf.where(tf.constant(divided), totals, sums)

    def alone(self) -> "ShardedKernels":
        """The same without the other ranks, to measure what they cost."""
        kernels = [kernel.alone() for kernel in self.values()]
        return ShardedKernels(kernels, NothingSent(self._collectives.world_size))


NOT_SHARDED = ShardedKernels([], NothingSent(1))
"""No kernels."""
