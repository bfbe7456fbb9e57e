"""The convolution of each channel by kernels of its own, with gradients that are fast and exact."""

import keras
import tensorflow as tf

from cnn.models.bias import add_bias, has_inexact_sums
from cnn.models.conv2d import check_form
from cnn.tensor import Tensor


class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """Keras's layer, but with its kernel's gradient computed before its inputs' gradient, for the reason of `Conv2D`.

    On CPUs gradients are computed in float32 at least, and rounded once. In bfloat16, oneDNN takes two to four times as
    long for the kernel's gradient, and with a stride of 2 forty times for the inputs'; with that stride and maps of one
    column the kernel's is arbitrary, as it is for `Conv2D`. TensorFlow without oneDNN sums as for a bias (see
    `add_bias`): the kernel's gradient was wrong by two thirds.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights; ValueError for what `call` would not do."""
        check_form(self)
        super().build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Maps (samples, height, width, channels) to (samples, rows, columns, channels * depth_multiplier)."""
        outputs = self._convolve(tf.convert_to_tensor(inputs), tf.convert_to_tensor(self.kernel))
        if self.use_bias:
            outputs = add_bias(outputs, tf.convert_to_tensor(self.bias))
        return self.activation(outputs)

    def _convolve(self, maps: Tensor, kernel: Tensor) -> Tensor:
        form = {"strides": (1, *self.strides, 1), "padding": self.padding.upper()}

        @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def convolve(maps: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
            exact = tf.float32 if has_inexact_sums(maps.dtype) else maps.dtype

            def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
                upstream = tf.cast(upstream, exact)
                kernel_gradient = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                    input=tf.cast(maps, exact), filter_sizes=kernel.shape.as_list(), out_backprop=upstream, **form
                )
                sizes, factors = tf.shape(maps), tf.cast(kernel, exact)  # outside the block, or they would wait too
                with tf.control_dependencies([kernel_gradient] if self.trainable else []):
                    input_gradient = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                        input_sizes=sizes, filter=factors, out_backprop=upstream, **form
                    )
                return tf.cast(input_gradient, maps.dtype), tf.cast(kernel_gradient, kernel.dtype)

            return tf.raw_ops.DepthwiseConv2dNative(input=maps, filter=kernel, **form), gradient

        return convolve(maps, kernel)
