"""ZFNet (Zeiler, Fergus, "Visualizing and understanding convolutional networks", 2013, section 4.1, figure 3).

AlexNet with a smaller first kernel and stride, and a stride of 2 in the second convolution.
"""

import keras

from cnn.models.blocks import classifier, convolution, max_pooling
from cnn.models.layers import LocalResponseNormalization


def build(image_shape: tuple[int, int, int], classes: int, *, dropout: float) -> keras.Model:
    """Builds a model from images (samples, height, width, channels) to logits (samples, classes)."""
    images = keras.Input(image_shape, name="images")
    x = convolution(images, 96, 7, stride=2, name="conv1")
    x = max_pooling(x, 3, 2, padding="same", name="pool1")
    x = LocalResponseNormalization(name="norm1")(x)
    x = convolution(x, 256, 5, stride=2, name="conv2")
    x = max_pooling(x, 3, 2, name="pool2")
    x = LocalResponseNormalization(name="norm2")(x)
    x = convolution(x, 384, 3, name="conv3")
    x = convolution(x, 384, 3, name="conv4")
    x = convolution(x, 256, 3, name="conv5")
    x = max_pooling(x, 3, 2, name="pool5")
    return keras.Model(images, classifier(x, classes, dropout), name="zfnet")
