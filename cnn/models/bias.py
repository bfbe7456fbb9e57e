"""The addition of a bias, with an accurate gradient, although this is a sum of very many numbers."""

import tensorflow as tf

from cnn.tensor import Tensor


def has_inexact_sums(dtype: tf.DType) -> bool:
    """Whether TensorFlow adds up numbers of this type in the type itself, as it does with short types on CPUs."""
    return bool(dtype.size < 4 and not tf.config.get_visible_devices("GPU"))


def add_bias(outputs: Tensor, bias: Tensor) -> Tensor:
    """Adds a bias (channels,) to tensors (..., channels).

    The bias's gradient is a sum over all positions of all samples. On CPUs TensorFlow sums bfloat16 in bfloat16, in
    which 256 + 1 is 256: AlexNet's and VGG16's gradients had errors of a third and more. A product with ones is summed
    in float32 and rounded once; it is also faster.
    """
    if not has_inexact_sums(outputs.dtype):
        return tf.nn.bias_add(outputs, bias)

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def add(outputs: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
            rows = tf.reshape(upstream, (-1, upstream.shape[-1]))
            ones = tf.ones((1, tf.shape(rows)[0]), rows.dtype)
            return upstream, tf.reshape(tf.matmul(ones, rows), [-1])

        return tf.nn.bias_add(outputs, bias), gradient

    return add(outputs, bias)
