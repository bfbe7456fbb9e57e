"""ResNet (He et al., "Deep residual learning for image recognition", 2015, table 1).

Bottlenecks have their stride in the 3x3 convolution, as in Goyal et al., 2017 ("v1.5"). The variant for 32x32 images
begins with a 3x3 convolution of stride 1 and no pooling, as is usual on CIFAR.
"""

import keras

from cnn.models.blocks import convolution, logits, max_pooling
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
    image_shape: tuple[int, int, int], classes: int, *, name: str, layers: int, small_images: bool
) -> keras.Model:
    """Builds a model from images (samples, height, width, channels) to logits (samples, classes)."""
    images = keras.Input(image_shape, name="images")
    if small_images:
        x = convolution(images, 64, 3, normalised=True, name="conv1")
    else:
        x = convolution(images, 64, 7, stride=2, normalised=True, name="conv1")
        x = max_pooling(x, 3, 2, padding="same", name="pool1")
    block = _bottleneck if layers >= 50 else _basic
    for stage, count in enumerate(BLOCKS[layers]):
        for number in range(1, count + 1):
            stride = 2 if stage > 0 and number == 1 else 1
            x = block(x, 64 * 2**stage, stride, f"stage{stage + 1}_block{number}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, logits(x, classes), name=name)


def _basic(x: Tensor, filters: int, stride: int, name: str) -> Tensor:
    y = convolution(x, filters, 3, stride=stride, normalised=True, name=f"{name}_conv1")
    y = convolution(y, filters, 3, normalised=True, activation=None, name=f"{name}_conv2")
    return _join(x, y, stride, name)


def _bottleneck(x: Tensor, filters: int, stride: int, name: str) -> Tensor:
    y = convolution(x, filters, 1, normalised=True, name=f"{name}_conv1")
    y = convolution(y, filters, 3, stride=stride, normalised=True, name=f"{name}_conv2")
    y = convolution(y, 4 * filters, 1, normalised=True, activation=None, name=f"{name}_conv3")
    return _join(x, y, stride, name)


def _join(x: Tensor, y: Tensor, stride: int, name: str) -> Tensor:
    """Adds the residual y to the shortcut x, which is projected if the shapes differ."""
    if x.shape[-1] != y.shape[-1] or stride != 1:
        x = convolution(x, y.shape[-1], 1, stride=stride, normalised=True, activation=None, name=f"{name}_projection")
    x = keras.layers.Add(name=f"{name}_add")([x, y])
    return keras.layers.Activation("relu", name=f"{name}_relu")(x)
