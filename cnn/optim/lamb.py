"""The optimizer LAMB (You et al., "Large batch optimization for deep learning", 2019, algorithm 2)."""

import keras
import tensorflow as tf

from cnn.optim.norms import norm
from cnn.tensor import Tensor


class LAMB(keras.optimizers.Lamb):
    """Adam in which every variable's step is as long as the learning rate times the variable.

    Weight decay is the decoupled form, as with AdamW: it is taken from the weights beside this step, and so has no part
    in the step's length; in the paper it is added to the update before that is scaled.
    """

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        """Takes the step of one variable, a TensorFlow one; Keras's, but for how lengths are added up."""
        kind, index = variable.dtype, self._get_variable_index(variable)
        gradient, steps = tf.cast(gradient, kind), tf.cast(self.iterations.value + 1, kind)
        momentum, velocity = self._momentums[index].value, self._velocities[index].value
        momentum.assign_add((gradient - momentum) * (1 - self.beta_1))
        velocity.assign_add((tf.square(gradient) - velocity) * (1 - self.beta_2))
        mean = momentum / (1 - tf.pow(tf.cast(self.beta_1, kind), steps))
        deviation = tf.sqrt(velocity / (1 - tf.pow(tf.cast(self.beta_2, kind), steps))) + self.epsilon
        update = mean / deviation
        length, slope = norm(tf.convert_to_tensor(variable)), norm(update)
        # One of nothing but zeros has no length to take a part of.
        ratio = tf.where((length > 0) & (slope > 0), length / slope, tf.ones_like(length))
        variable.assign_sub(ratio * tf.cast(learning_rate, kind) * update)
