"""GoogLeNet (Szegedy et al., "Going deeper with convolutions", 2014, table 1): 22 layers with weights.

In training it has two auxiliary classifiers, whose outputs follow the logits.
"""

import keras

from cnn.models.blocks import check_size, convolution, logits, max_pooling
from cnn.models.dense import Dense
from cnn.models.layers import Dropout, LocalResponseNormalization
from cnn.tensor import Tensor

INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Filters of each module: 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; 1x1 after the pooling."""


def build(image_shape: tuple[int, int, int], classes: int, *, dropout: float) -> keras.Model:
    """Builds a model from images (samples, height, width, channels) to a list of three logits (samples, classes)."""
    images = keras.Input(image_shape, name="images")
    x = convolution(images, 64, 7, stride=2, name="conv1")
    x = max_pooling(x, 3, 2, padding="same", name="pool1")
    x = LocalResponseNormalization(name="norm1")(x)
    x = convolution(x, 64, 1, name="conv2_reduce")
    x = convolution(x, 192, 3, name="conv2")
    x = LocalResponseNormalization(name="norm2")(x)
    x = max_pooling(x, 3, 2, padding="same", name="pool2")
    auxiliary: list[Tensor] = []
    for module, filters in INCEPTIONS.items():
        x = _inception(x, filters, f"inception_{module}")
        if module in ("3b", "4e"):
            x = max_pooling(x, 3, 2, padding="same", name=f"pool{module[0]}")
        if module in ("4a", "4d"):
            auxiliary.append(_auxiliary(x, classes, len(auxiliary) + 1))
    x = keras.layers.GlobalAveragePooling2D(name="pool5")(x)
    x = Dropout(dropout, name="dropout")(x)
    return keras.Model(images, [logits(x, classes), *auxiliary], name="googlenet")


def _inception(x: Tensor, filters: tuple[int, ...], name: str) -> Tensor:
    one, three_reduced, three, five_reduced, five, pooled = filters
    branches = [
        convolution(x, one, 1, name=f"{name}_1x1"),
        convolution(convolution(x, three_reduced, 1, name=f"{name}_3x3_reduce"), three, 3, name=f"{name}_3x3"),
        convolution(convolution(x, five_reduced, 1, name=f"{name}_5x5_reduce"), five, 5, name=f"{name}_5x5"),
        convolution(max_pooling(x, 3, 1, padding="same", name=f"{name}_pool"), pooled, 1, name=f"{name}_pool_1x1"),
    ]
    return keras.layers.Concatenate(name=name)(branches)


def _auxiliary(x: Tensor, classes: int, number: int) -> Tensor:
    name = f"auxiliary{number}"
    check_size(x, 5, 3, "valid", f"{name}_pool")
    x = keras.layers.AveragePooling2D(5, 3, name=f"{name}_pool")(x)
    x = convolution(x, 128, 1, name=f"{name}_conv")
    x = keras.layers.Flatten(name=f"{name}_flatten")(x)
    x = Dense(1024, activation="relu", kernel_initializer="he_normal", name=f"{name}_fc")(x)
    return logits(Dropout(0.7, name=f"{name}_dropout")(x), classes, name=f"{name}_logits")
