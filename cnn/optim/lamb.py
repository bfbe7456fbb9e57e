"""The optimizer LAMB (You et al., "Large batch optimization for deep learning", 2019, algorithm 2)."""

from typing import Any

import keras
import tensorflow as tf

from cnn.cluster.exchange.sharded_kernels import NOT_SHARDED, ShardedKernels
from cnn.optim.norms import norms
from cnn.tensor import Tensor


class LAMB(keras.optimizers.Lamb):
    """Adam with every variable's step scaled to the norm of the learning rate times the variable.

    Weight decay is decoupled, as with AdamW: it is subtracted from the weights separately and does not affect the
    step's norm; in the paper it is added to the update before the scaling.

    Args:
        learning_rate: learning rate of all variables.
        sharded: the kernels that are divided among the ranks.
        arguments: further arguments of Keras's class.
    """

    def __init__(self, learning_rate: float, *, sharded: ShardedKernels = NOT_SHARDED, **arguments: Any) -> None:
        super().__init__(learning_rate, **arguments)
        self.sharded = sharded

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        """Updates one TensorFlow variable, as Keras does except for the summation of norms."""
        dtype, index = variable.dtype, self._get_variable_index(variable)
        gradient, steps = tf.cast(gradient, dtype), tf.cast(self.iterations.value + 1, dtype)
        momentum, velocity = self._momentums[index].value, self._velocities[index].value
        momentum.assign_add((gradient - momentum) * (1 - self.beta_1))
        velocity.assign_add((tf.square(gradient) - velocity) * (1 - self.beta_2))
        mean = momentum / (1 - tf.pow(tf.cast(self.beta_1, dtype), steps))
        deviation = tf.sqrt(velocity / (1 - tf.pow(tf.cast(self.beta_2, dtype), steps))) + self.epsilon
        update = mean / deviation
        path = self._trainable_variables[index].path
        weight_norm, update_norm = norms([tf.convert_to_tensor(variable), update], path, self.sharded)
        # The step is not scaled if the variable or the update is zero.
        ratio = tf.where((weight_norm > 0) & (update_norm > 0), weight_norm / update_norm, tf.ones_like(weight_norm))
        variable.assign_sub(ratio * tf.cast(learning_rate, dtype) * update)
