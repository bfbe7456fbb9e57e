"""The convolution whose gradients are computed in the order in which they can be exchanged."""

from typing import Any

import keras
import tensorflow as tf

from cnn.models.bias import add_bias
from cnn.tensor import Tensor

_LANES = 16
"""Output channels that oneDNN computes in one vector on CPUs; with fewer, part of the vector is unused."""


class Conv2D(keras.layers.Conv2D):
    """Keras's layer, but with its kernel's gradient computed before its inputs' gradient.

    TensorFlow runs operations that are ready in any order, on CPUs most kernels' gradients after all inputs' gradients;
    then no gradient could be exchanged while those of the layers below are computed.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights; ValueError for what `call` would not do."""
        check_form(self)
        super().build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Maps (samples, height, width, channels) to (samples, rows, columns, filters)."""
        outputs = self.convolution_op(inputs, self.kernel)
        if self.use_bias:
            outputs = add_bias(outputs, tf.convert_to_tensor(self.bias))
        return self.activation(outputs)

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Convolves maps (samples, height, width, channels) with a kernel, as Keras's method does."""
        strides, padding = (1, *self.strides, 1), self.padding.upper()

        @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def convolve(maps: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
            def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
                # A single row or column has one output whatever the stride. With a larger stride oneDNN would, in
                # bfloat16, read uninitialised memory beyond such a column: the gradient would be arbitrary.
                rows, columns = (1 if maps.shape[axis] == 1 else strides[axis] for axis in (1, 2))
                kernel_gradient = tf.raw_ops.Conv2DBackpropFilter(
                    input=maps,
                    filter_sizes=kernel.shape.as_list(),
                    out_backprop=upstream,
                    strides=(1, rows, columns, 1),
                    padding=padding,
                )
                sizes = tf.shape(maps)  # outside the block, or only this operation would wait
                with tf.control_dependencies([kernel_gradient] if self.trainable else []):
                    if self._few_channels(maps.shape, upstream.shape):
                        return _gradient_of_few_channels(tf.identity(upstream), kernel), kernel_gradient
                    input_gradient = tf.raw_ops.Conv2DBackpropInput(
                        input_sizes=sizes,
                        filter=kernel,
                        out_backprop=upstream,
                        strides=strides,
                        padding=padding,
                    )
                return input_gradient, kernel_gradient

            return tf.nn.conv2d(maps, kernel, strides, padding), gradient

        return convolve(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel))

    def _few_channels(self, maps: Tensor, outputs: Tensor) -> bool:
        """Whether `_gradient_of_few_channels` supports these shapes and is faster."""
        widths_are_even = maps[2] % 2 == outputs[2] % 2 == 0
        is_supported = self.strides == (1, 1) and self.padding == "valid" and self.kernel_size[1] % 2 == 1
        is_faster = 2 * maps[3] <= _LANES and not tf.config.get_visible_devices("GPU")
        return bool(widths_are_even and is_supported and is_faster)


def check_form(layer: Any) -> None:
    """Raises ValueError for a convolution with dilation or with channels first, which these layers do not compute."""
    if set(layer.dilation_rate) != {1} or layer.data_format != "channels_last":
        raise ValueError(
            f"{layer.name} has dilation_rate {layer.dilation_rate} and data_format {layer.data_format}: "
            f"{type(layer).__name__} of cnn/models has neither dilation nor channels_first."
        )


def pair_columns(kernel: Tensor) -> Tensor:
    """Converts a kernel for maps in which each pair of columns has become one column of twice the channels.

    Args:
        kernel: (height, width, m, n) of odd width.

    Returns:
        A kernel (height, (width + 1) / 2, 2m, 2n), which contains the given one for each column of a pair, padded by a
        column of zeros.
    """
    height, width, inputs, outputs = kernel.shape
    shifted = [tf.pad(kernel, [(0, 0), (column, 1 - column), (0, 0), (0, 0)]) for column in (0, 1)]
    return tf.reshape(tf.stack(shifted, 3), (height, (width + 1) // 2, 2 * inputs, 2 * outputs))


def _gradient_of_few_channels(upstream: Tensor, kernel: Tensor) -> Tensor:
    """The inputs' gradient of an unpadded convolution of stride 1, in two thirds of TensorFlow's time: see `_LANES`."""
    (_, height, width, outputs), (rows, columns, inputs, _) = upstream.shape, kernel.shape
    flipped = pair_columns(tf.transpose(tf.reverse(kernel, [0, 1]), (0, 1, 3, 2)))
    pairs = tf.reshape(upstream, (-1, height, width // 2, 2 * outputs))
    border = (columns - 1) // 2
    pairs = tf.pad(pairs, [(0, 0), (0, 0), (border, border), (0, 0)])  # oneDNN's own padding of narrow maps is slow
    maps = tf.nn.conv2d(pairs, flipped, 1, [[0, 0], [rows - 1, rows - 1], [0, 0], [0, 0]])
    return tf.reshape(maps, (-1, height + rows - 1, width + columns - 1, inputs))
