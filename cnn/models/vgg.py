"""VGG (Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014, table 1).

Configurations A, B, D and E have 11, 13, 16 and 19 layers with weights. The variant for 32x32 images, widely used on
CIFAR, has one fully connected layer of 512 units.
"""

import keras

from cnn.models.blocks import classifier, convolution, max_pooling

CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Number of convolutions in each of the five blocks, by the number of layers."""

_FILTERS = (64, 128, 256, 512, 512)


def build(
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    name: str,
    layers: int,
    normalised: bool,
    small_images: bool,
    dropout: float,
) -> keras.Model:
    """Builds a model from images (samples, height, width, channels) to logits (samples, classes)."""
    images = x = keras.Input(image_shape, name="images")
    for block, (count, filters) in enumerate(zip(CONVOLUTIONS[layers], _FILTERS, strict=True), start=1):
        for number in range(1, count + 1):
            x = convolution(x, filters, 3, normalised=normalised, name=f"block{block}_conv{number}")
        x = max_pooling(x, 2, 2, name=f"block{block}_pool")
    units = (512,) if small_images else (4096, 4096)
    return keras.Model(images, classifier(x, classes, dropout, units=units, first_number=1), name=name)
