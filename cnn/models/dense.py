"""The fully connected layer whose kernel's gradient, or products, can be computed outside the layer."""

import keras
import tensorflow as tf

from cnn.models.batch import Factors, batch_in_training
from cnn.models.bias import add_bias
from cnn.tensor import Tensor


class Dense(keras.layers.Dense):
    """Keras's layer, which in training also adds the factors of its kernel's gradient to the batch.

    With inputs x (samples, m) and the loss's gradient dy (samples, n) with respect to the linear outputs, the kernel's
    gradient is x^T dy (m, n): in large layers the factors are far smaller than the product. Of a kernel that several
    ranks share, the factors are those of the rank's part.
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Maps a tensor (samples, m) to (samples, n)."""
        batch = batch_in_training()
        if batch is None:
            return super().call(inputs)
        bias, divided = tf.convert_to_tensor(self.bias), batch.divided.get(self.kernel.path)
        if divided is None:
            linear = add_bias(tf.matmul(inputs, tf.convert_to_tensor(self.kernel)), bias)
            batch.factors[self.kernel.path] = Factors(inputs, linear)
        else:
            *factors, outputs = divided(inputs)
            batch.factors[self.kernel.path] = Factors(*factors)
            linear = add_bias(outputs, bias)
        return self.activation(linear)
