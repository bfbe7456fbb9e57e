"""The one-layer fully connected network: softmax regression on pixels."""

import keras

from cnn.models.dense import Dense


def build(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds a model from images (samples, height, width, channels) to logits (samples, classes)."""
    images = keras.Input(image_shape, name="images")
    flat = keras.layers.Flatten(name="flatten")(images)
    logits = Dense(classes, name="logits")(flat)
    return keras.Model(images, logits, name="fcnn")
