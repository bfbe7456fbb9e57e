"""Building blocks of the networks: convolution with normalisation, pooling, fully connected classifier."""

import math

import keras

from cnn.errors import UserError
from cnn.models.conv2d import Conv2D
from cnn.models.conventions import CONVENTIONS, Conventions
from cnn.models.dense import Dense
from cnn.models.depthwise_conv2d import DepthwiseConv2D
from cnn.models.group_batch_normalization import GroupBatchNormalization
from cnn.models.layers import Dropout
from cnn.tensor import Tensor

_OWN = CONVENTIONS["own"]


class ImageTooSmallError(UserError):
    """The images are too small for the network; `layer` is the first layer whose input is smaller than its kernel."""

    def __init__(self, layer: str) -> None:
        super().__init__(f"the images are too small: too few pixels are left for the layer {layer}")
        self.layer = layer


def output_size(size: int, kernel: int, stride: int, padding: str) -> int:
    """The number of positions of a kernel on a side of `size` pixels.

    With padding "valid" it is 1 + (size - kernel) / stride, rounded down. With "same" TensorFlow pads so that it is
    size / stride, rounded up.
    """
    return -(-size // stride) if padding == "same" else max(0, 1 + (size - kernel) // stride)


def check_size(x: Tensor, kernel: int, stride: int, padding: str, name: str) -> None:
    """Raises ImageTooSmallError if a layer's kernel does not fit into the feature maps x.

    Args:
        x: feature maps (samples, height, width, channels).
        kernel: side of the kernel.
        stride: stride of the kernel.
        padding: same or valid.
        name: name of the layer, for the message.
    """
    if min(output_size(side, kernel, stride, padding) for side in x.shape[1:3]) < 1:
        raise ImageTooSmallError(name)


def convolution(
    x: Tensor,
    filters: int,
    kernel: int,
    *,
    name: str,
    stride: int = 1,
    padding: str = "same",
    normalised: bool = False,
    activation: str | None = "relu",
    conventions: Conventions = _OWN,
) -> Tensor:
    """Convolution, then batch normalisation (if `normalised`; the bias is then omitted), then activation."""
    check_size(x, kernel, stride, padding, name)
    x, padding = _padded(x, kernel, stride, padding, name, conventions)
    convolve = Conv2D(
        filters,
        kernel,
        stride,
        padding,
        use_bias=not normalised,
        activation=None if normalised else activation,
        kernel_initializer="he_normal",
        name=name,
    )
    return _normalised(convolve(x), activation, name, conventions) if normalised else convolve(x)


def depthwise_convolution(x: Tensor, kernel: int, *, name: str, stride: int = 1, activation: str = "relu") -> Tensor:
    """A convolution of each channel by a kernel of its own, padded, then batch normalisation and the activation."""
    check_size(x, kernel, stride, "same", name)
    # Keras's he_normal would count all channels as inputs of each, which has only its own.
    initial = keras.initializers.TruncatedNormal(stddev=math.sqrt(2) / kernel)
    convolve = DepthwiseConv2D(kernel, stride, "same", use_bias=False, depthwise_initializer=initial, name=name)
    return _normalised(convolve(x), activation, name)


def _normalised(x: Tensor, activation: str | None, name: str, conventions: Conventions = _OWN) -> Tensor:
    x = GroupBatchNormalization(conventions.momentum, conventions.epsilon, name=f"{name}_bn")(x)
    return x if activation is None else keras.layers.Activation(activation, name=f"{name}_{activation}")(x)


def _padded(
    x: Tensor, kernel: int, stride: int, padding: str, name: str, conventions: Conventions
) -> tuple[Tensor, str]:
    """Pads evenly, if the conventions say so and TensorFlow's padding might not; also returns the remaining padding."""
    if padding == "valid" or kernel == 1 or stride == 1 or not conventions.pads_evenly:
        return x, padding
    return keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_padding")(x), "valid"


def max_pooling(
    x: Tensor, kernel: int, stride: int, *, name: str, padding: str = "valid", conventions: Conventions = _OWN
) -> Tensor:
    """Max pooling; with even padding, of maps without negative values."""
    check_size(x, kernel, stride, padding, name)
    x, padding = _padded(x, kernel, stride, padding, name, conventions)
    return keras.layers.MaxPooling2D(kernel, stride, padding, name=name)(x)


def classifier(
    x: Tensor, classes: int, dropout: float, *, units: tuple[int, ...] = (4096, 4096), first_number: int = 6
) -> Tensor:
    """Flattens feature maps and applies fully connected layers with dropout, then the output layer.

    The hidden layers are named fc{first_number}, ...: by default from fc6 on, after AlexNet's five convolutions.
    """
    x = keras.layers.Flatten(name="flatten")(x)
    for number, outputs in enumerate(units, start=first_number):
        layer = Dense(outputs, activation="relu", kernel_initializer="he_normal", name=f"fc{number}")
        x = Dropout(dropout, name=f"dropout{number}")(layer(x))
    return logits(x, classes)


def logits(x: Tensor, classes: int, name: str = "logits") -> Tensor:
    """The linear output layer; the softmax of its outputs is the probabilities of the classes."""
    return Dense(classes, kernel_initializer="glorot_uniform", name=name)(x)
