"""The convolution whose gradients come in the order in which they can be exchanged."""

from typing import Any

import keras
import tensorflow as tf


class Conv2D(keras.layers.Conv2D):
    """Keras's layer, which computes its kernel's gradient before that of its inputs.

    TensorFlow runs what is ready in any order, on processors most kernels' gradients behind all those of inputs; then
    nothing could travel while the layers below are computed.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Maps (samples, height, width, channels) and kernel to maps, as Keras's."""
        strides, padding = (1, *self.strides, 1), self.padding.upper()

        @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def convolve(maps: Any, kernel: Any) -> tuple[Any, Any]:
            def gradient(upstream: Any) -> tuple[Any, Any]:
                of_kernel = tf.raw_ops.Conv2DBackpropFilter(
                    input=maps,
                    filter_sizes=kernel.shape.as_list(),
                    out_backprop=upstream,
                    strides=strides,
                    padding=padding,
                )
                sizes = tf.shape(maps)  # out here, or it alone would be what waits
                with tf.control_dependencies([of_kernel]):
                    of_maps = tf.raw_ops.Conv2DBackpropInput(
                        input_sizes=sizes,
                        filter=kernel,
                        out_backprop=upstream,
                        strides=strides,
                        padding=padding,
                    )
                return of_maps, of_kernel

            return tf.nn.conv2d(maps, kernel, strides, padding), gradient

        return convolve(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel))
