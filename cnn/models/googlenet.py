"""GoogLeNet (Szegedy et al., "Going deeper with convolutions", 2014, table 1): 22 layers with weights.

In training it has two auxiliary classifiers, whose outputs follow the logits. The variant `-bn` is torchvision's: it
has batch normalisation after each convolution instead of local response normalisation, and 3x3 convolutions in place of
the 5x5.
"""

import functools
from collections.abc import Callable

import keras

from cnn.models.blocks import check_size, convolution, logits, max_pooling
from cnn.models.conventions import CONVENTIONS, Conventions
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

_TORCHVISION = Conventions(pads_evenly=True, epsilon=1e-3)


def build(
    image_shape: tuple[int, int, int], classes: int, *, name: str, normalised: bool, dropout: float
) -> keras.Model:
    """Builds a model from images (samples, height, width, channels) to a list of three logits (samples, classes)."""
    conventions = _TORCHVISION if normalised else CONVENTIONS["own"]
    convolve = functools.partial(convolution, normalised=normalised, conventions=conventions)
    pool = _pooling_of_remainders if normalised else functools.partial(max_pooling, padding="same")
    images = keras.Input(image_shape, name="images")
    x = convolve(images, 64, 7, stride=2, name="conv1")
    x = pool(x, 3, 2, name="pool1")
    if not normalised:
        x = LocalResponseNormalization(name="norm1")(x)
    x = convolve(x, 64, 1, name="conv2_reduce")
    x = convolve(x, 192, 3, name="conv2")
    if not normalised:
        x = LocalResponseNormalization(name="norm2")(x)
    x = pool(x, 3, 2, name="pool2")
    auxiliary: list[Tensor] = []
    for module, filters in INCEPTIONS.items():
        x = _inception(convolve, x, filters, 3 if normalised else 5, f"inception_{module}")
        if module in ("3b", "4e"):
            x = pool(x, 2 if normalised and module == "4e" else 3, 2, name=f"pool{module[0]}")
        if module in ("4a", "4d"):
            auxiliary.append(_auxiliary(convolve, x, classes, len(auxiliary) + 1))
    x = keras.layers.GlobalAveragePooling2D(name="pool5")(x)
    x = Dropout(dropout, name="dropout")(x)
    return keras.Model(images, [logits(x, classes), *auxiliary], name=name)


def _pooling_of_remainders(x: Tensor, kernel: int, stride: int, *, name: str) -> Tensor:
    """Max pooling that also pools the last row and column where the stride of 2 leaves one over, as PyTorch's
    ceil_mode does, and pads nothing else."""
    return max_pooling(x, kernel, stride, padding="same" if (x.shape[1] - kernel) % stride else "valid", name=name)


def _inception(convolve: Callable[..., Tensor], x: Tensor, filters: tuple[int, ...], large: int, name: str) -> Tensor:
    """A module, whose largest kernel has the side `large`; the names of its layers always say 5x5."""
    one, three_reduced, three, five_reduced, five, pooled = filters
    branches = [
        convolve(x, one, 1, name=f"{name}_1x1"),
        convolve(convolve(x, three_reduced, 1, name=f"{name}_3x3_reduce"), three, 3, name=f"{name}_3x3"),
        convolve(convolve(x, five_reduced, 1, name=f"{name}_5x5_reduce"), five, large, name=f"{name}_5x5"),
        convolve(max_pooling(x, 3, 1, padding="same", name=f"{name}_pool"), pooled, 1, name=f"{name}_pool_1x1"),
    ]
    return keras.layers.Concatenate(name=name)(branches)


def _auxiliary(convolve: Callable[..., Tensor], x: Tensor, classes: int, number: int) -> Tensor:
    name = f"auxiliary{number}"
    check_size(x, 5, 3, "valid", f"{name}_pool")
    x = keras.layers.AveragePooling2D(5, 3, name=f"{name}_pool")(x)
    x = convolve(x, 128, 1, name=f"{name}_conv")
    x = keras.layers.Flatten(name=f"{name}_flatten")(x)
    x = Dense(1024, activation="relu", kernel_initializer="he_normal", name=f"{name}_fc")(x)
    return logits(Dropout(0.7, name=f"{name}_dropout")(x), classes, name=f"{name}_logits")
