"""The workers of a job that is only planned."""

from typing import Any

import tensorflow as tf

from cnn.cluster.launchers.process import ALONE
from cnn.cluster.ranks.collectives import Cluster
from cnn.tensor import Tensor


class PlannedCluster(Cluster):
    """A cluster of any number of workers that starts neither MPI nor Horovod: this process stands for each of them.

    Collectives inside a step can be traced, which allocates what Horovod's would, but not be run.

    Args:
        world_size: the number of workers.
    """

    is_planned = True

    def __init__(self, world_size: int) -> None:
        super().__init__(ALONE)
        self.world_size = world_size
        self.peers = self.peers * world_size

    def gather(self, value: Any) -> list[Any]:
        return [value] * self.world_size

    def join(self, rows: Tensor) -> Tensor:
        return tf.tile(rows, [self.world_size] + [1] * (len(rows.shape) - 1))

    def sum_in_graph(self, tensor: Tensor, name: str) -> Tensor:
        return tf.tile(tensor, [1])

    def gather_in_graph(self, tensor: Tensor, name: str) -> Tensor:
        return tf.tile(tensor, [self.world_size] + [1] * (len(tensor.shape) - 1))

    def transpose_in_graph(self, tensor: Tensor, name: str) -> Tensor:
        return tf.tile(tensor, [1] * len(tensor.shape))
