"""AlexNet (Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", 2012).

Its convolutions are not divided into the paper's two groups, and pooling precedes normalisation, as in CaffeNet. The
variant `-bn` has batch normalisation after each convolution instead of local response normalisation.
"""

import keras

from cnn.models.blocks import classifier, convolution, max_pooling
from cnn.models.layers import LocalResponseNormalization


def build(
    image_shape: tuple[int, int, int], classes: int, *, name: str, normalised: bool, dropout: float
) -> keras.Model:
    """Builds a model from images (samples, height, width, channels) to logits (samples, classes)."""
    images = keras.Input(image_shape, name="images")
    x = convolution(images, 96, 11, stride=4, normalised=normalised, name="conv1")
    x = max_pooling(x, 3, 2, name="pool1")
    if not normalised:
        x = LocalResponseNormalization(name="norm1")(x)
    x = convolution(x, 256, 5, normalised=normalised, name="conv2")
    x = max_pooling(x, 3, 2, name="pool2")
    if not normalised:
        x = LocalResponseNormalization(name="norm2")(x)
    x = convolution(x, 384, 3, normalised=normalised, name="conv3")
    x = convolution(x, 384, 3, normalised=normalised, name="conv4")
    x = convolution(x, 256, 3, normalised=normalised, name="conv5")
    x = max_pooling(x, 3, 2, name="pool5")
    return keras.Model(images, classifier(x, classes, dropout), name=name)
