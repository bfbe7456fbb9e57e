"""ResNet (He et al., "Deep residual learning for image recognition", 2015, table 1).

Bottlenecks have their stride in the 3x3 convolution, as in Goyal et al., 2017 ("v1.5"), unless the conventions say
otherwise. The variant for 32x32 images
begins with a 3x3 convolution of stride 1 and no pooling, as is usual on CIFAR.
"""

import functools
from collections.abc import Callable

import keras

from cnn.models.blocks import convolution, logits, max_pooling
from cnn.models.conventions import Conventions
from cnn.tensor import Tensor

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Number of residual blocks in each of the four stages, by the number of layers; bottlenecks from 50 layers on."""


def build(
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    name: str,
    layers: int,
    small_images: bool,
    conventions: Conventions,
) -> keras.Model:
    """Builds a model from images (samples, height, width, channels) to logits (samples, classes)."""
    convolve = functools.partial(convolution, normalised=True, conventions=conventions)
    images = keras.Input(image_shape, name="images")
    if small_images:
        x = convolve(images, 64, 3, name="conv1")
    else:
        x = convolve(images, 64, 7, stride=2, name="conv1")
        x = max_pooling(x, 3, 2, padding="same", conventions=conventions, name="pool1")
    bottleneck = functools.partial(_bottleneck, stride_comes_first=conventions.stride_comes_first)
    block = bottleneck if layers >= 50 else _basic
    for stage, count in enumerate(BLOCKS[layers]):
        for number in range(1, count + 1):
            stride = 2 if stage > 0 and number == 1 else 1
            x = block(convolve, x, 64 * 2**stage, stride, f"stage{stage + 1}_block{number}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, logits(x, classes), name=name)


def _basic(convolve: Callable[..., Tensor], x: Tensor, filters: int, stride: int, name: str) -> Tensor:
    y = convolve(x, filters, 3, stride=stride, name=f"{name}_conv1")
    y = convolve(y, filters, 3, activation=None, name=f"{name}_conv2")
    return _join(convolve, x, y, stride, name)


def _bottleneck(
    convolve: Callable[..., Tensor], x: Tensor, filters: int, stride: int, name: str, *, stride_comes_first: bool
) -> Tensor:
    first, second = (stride, 1) if stride_comes_first else (1, stride)
    y = convolve(x, filters, 1, stride=first, name=f"{name}_conv1")
    y = convolve(y, filters, 3, stride=second, name=f"{name}_conv2")
    y = convolve(y, 4 * filters, 1, activation=None, name=f"{name}_conv3")
    return _join(convolve, x, y, stride, name)


def _join(convolve: Callable[..., Tensor], x: Tensor, y: Tensor, stride: int, name: str) -> Tensor:
    """Adds the residual y to the shortcut x, which is projected if the shapes differ."""
    if x.shape[-1] != y.shape[-1] or stride != 1:
        x = convolve(x, y.shape[-1], 1, stride=stride, activation=None, name=f"{name}_projection")
    x = keras.layers.Add(name=f"{name}_add")([x, y])
    return keras.layers.Activation("relu", name=f"{name}_relu")(x)
