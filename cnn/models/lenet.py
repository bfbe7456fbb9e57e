"""LeNet-5 (LeCun et al., "Gradient-based learning applied to document recognition", 1998, section II.B).

The sizes are the paper's. As in modern implementations, every map of the second convolution is connected to all six of
the first, average pooling has no weights, and the output layer is linear. With 28x28x1 images and 10 classes it has
61,706 parameters.
"""

import keras

from cnn.models.blocks import check_size
from cnn.models.conv2d import Conv2D
from cnn.models.dense import Dense
from cnn.models.layers import Dropout, FewChannelConv2D, HalvingAveragePooling2D


def build(
    image_shape: tuple[int, int, int], classes: int, *, name: str, activation: str, dropout: float
) -> keras.Model:
    """Builds a model from images (samples, height, width, channels) to logits (samples, classes)."""
    layers = keras.layers
    images = keras.Input(image_shape, name="images")
    x = FewChannelConv2D(6, 5, padding="same", activation=activation, name="conv1")(images)
    check_size(x, 2, 2, "valid", "pool1")
    x = HalvingAveragePooling2D(name="pool1")(x)
    check_size(x, 5, 1, "valid", "conv2")
    x = Conv2D(16, 5, padding="valid", activation=activation, name="conv2")(x)
    check_size(x, 2, 2, "valid", "pool2")
    x = HalvingAveragePooling2D(name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    for index, units in enumerate((120, 84), start=1):
        x = Dense(units, activation=activation, name=f"fc{index}")(x)
        if dropout:
            x = Dropout(dropout, name=f"dropout{index}")(x)
    logits = Dense(classes, name="logits")(x)
    return keras.Model(images, logits, name=name)
