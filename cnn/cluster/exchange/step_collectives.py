"""The collectives inside a compiled step that copy numbers, and what stands for them where nothing is sent."""

from typing import Protocol

import tensorflow as tf

from cnn.tensor import Tensor


class StepCollectives(Protocol):
    """The part of `Cluster` that copies numbers between the ranks inside a step."""

    world_size: int

    def gather_in_graph(self, tensor: Tensor, name: str) -> Tensor:
        """Concatenates all ranks' tensors (samples, ...)."""

    def transpose_in_graph(self, tensor: Tensor, name: str) -> Tensor:
        """Sends row r of a tensor (ranks, ...) to rank r."""


class NothingSent:
    """Gives tensors of the same shapes, but sends nothing, so that the cost of sending can be measured."""

    def __init__(self, world_size: int) -> None:
        self.world_size = world_size

    def gather_in_graph(self, tensor: Tensor, name: str) -> Tensor:
        """Repeats this rank's tensor (samples, ...) for every rank."""
        return tf.tile(tensor, [self.world_size] + [1] * (len(tensor.shape) - 1))

    def transpose_in_graph(self, tensor: Tensor, name: str) -> Tensor:
        """Gives a tensor (ranks, ...) back."""
        return tensor
