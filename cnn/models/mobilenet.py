"""MobileNet (Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017,
table 1), of width 1.

The table gives the last depthwise convolution a stride of 2, but maps of 7x7 on both sides of it: its stride is 1.
"""

import keras

from cnn.models.blocks import convolution, depthwise_convolution, logits
from cnn.tensor import Tensor

BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""Channels and stride of each pair of a depthwise and a 1x1 convolution."""


def build(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Images (samples, height, width, channels) to logits (samples, classes)."""
    images = keras.Input(image_shape, name="images")
    x = convolution(images, 32, 3, stride=2, normalised=True, name="conv1")
    for number, (filters, stride) in enumerate(BLOCKS, start=1):
        x = _separable(x, filters, stride, f"block{number}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, logits(x, classes), name="mobilenet")


def _separable(x: Tensor, filters: int, stride: int, name: str) -> Tensor:
    x = depthwise_convolution(x, 3, stride=stride, name=f"{name}_depthwise")
    return convolution(x, filters, 1, normalised=True, name=f"{name}_pointwise")
