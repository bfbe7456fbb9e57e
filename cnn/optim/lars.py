"""The optimizer LARS (You, Gitman, Ginsburg, "Large batch training of convolutional networks", 2017, algorithm 1)."""

from typing import Any

import tensorflow as tf

from cnn.optim.fused import FusedSGD
from cnn.optim.norms import norm
from cnn.tensor import Tensor


class LARS(FusedSGD):
    """Momentum in which every kernel's step is as long as a fixed part of the kernel: layer-wise adaptive rates.

    Biases and the weights of normalisations take plain momentum's steps, as is usual (MLPerf).

    Args:
        learning_rate: of all steps.
        trust: a kernel's step is trust * learning_rate times its length, before momentum.
        weight_decay: times a kernel, added to its gradient before that is scaled.
        arguments: as for SGD.
    """

    def __init__(
        self, learning_rate: float, *, trust: float = 1e-3, weight_decay: float | None = None, **arguments: Any
    ) -> None:
        super().__init__(learning_rate, **arguments)
        self.trust, self.decay = trust, weight_decay or 0.0

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        """Takes the step of one variable, a TensorFlow one."""
        if self._trainable_variables[self._get_variable_index(variable)].name == "kernel":
            weights = tf.convert_to_tensor(variable)
            length, slope = norm(weights), norm(gradient)
            scale = self.trust * length / (slope + self.decay * length)
            # A kernel or a gradient of nothing but zeros has no direction to take a part of.
            scale = tf.where((length > 0) & (slope > 0), scale, tf.ones_like(scale))
            gradient = scale * (gradient + self.decay * weights)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "trust": self.trust, "weight_decay": self.decay}
