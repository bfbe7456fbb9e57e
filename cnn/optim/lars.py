"""The optimizer LARS (You, Gitman, Ginsburg, "Large batch training of convolutional networks", 2017, algorithm 1)."""

from typing import Any

import tensorflow as tf

from cnn.cluster.exchange.sharded_kernels import NOT_SHARDED, ShardedKernels
from cnn.optim.fused import FusedSGD
from cnn.optim.norms import norms
from cnn.tensor import Tensor


class LARS(FusedSGD):
    """Momentum with every kernel's step scaled to a fixed fraction of the kernel's norm: layer-wise adaptive rates.

    Biases and normalisation weights are updated by plain momentum, as is usual (MLPerf).

    Args:
        learning_rate: learning rate of all variables.
        trust: a kernel's step has the norm trust * learning_rate times the kernel's norm, before momentum.
        weight_decay: weight_decay times the kernel is added to its gradient before the scaling.
        sharded: the kernels that are divided among the ranks.
        arguments: further arguments of SGD.
    """

    def __init__(
        self,
        learning_rate: float,
        *,
        trust: float = 1e-3,
        weight_decay: float | None = None,
        sharded: ShardedKernels = NOT_SHARDED,
        **arguments: Any,
    ) -> None:
        super().__init__(learning_rate, **arguments)
        self.sharded = sharded
        self.trust, self.decay = trust, weight_decay or 0.0

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        """Updates one TensorFlow variable."""
        kernel = self._trainable_variables[self._get_variable_index(variable)]
        if kernel.name == "kernel":
            weights = tf.convert_to_tensor(variable)
            weight_norm, gradient_norm = norms([weights, gradient], kernel.path, self.sharded)
            scale = self.trust * weight_norm / (gradient_norm + self.decay * weight_norm)
            # The gradient is not scaled if it or the kernel is zero.
            scale = tf.where((weight_norm > 0) & (gradient_norm > 0), scale, tf.ones_like(scale))
            gradient = scale * (gradient + self.decay * weights)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "trust": self.trust, "weight_decay": self.decay}
