"""The project's networks as plain Keras models, for Keras's own compile and fit."""

from typing import TYPE_CHECKING

from cnn.errors import UserError
from cnn.models.registry import ModelSettings, build_network
from cnn.notebook.session import unchanged_session

if TYPE_CHECKING:
    import keras


def network(
    name: str, *, classes: int, image_size: int, channels: int = 3, dropout: float | None = None, seed: int = 1
) -> "keras.Model":
    """Builds a network of Keras's own layers, with initial weights, for Keras's `compile` and `fit`.

    It takes images (images, image_size, image_size, channels) of numbers near 0: divide pixels by 255, for example. It
    returns probabilities, as the loss "sparse_categorical_crossentropy" expects them. Its initial weights are those of
    `cnn.train` with the same seed. Keras's dropout and batch normalisation depend on how batches are divided among
    workers, so `fit` trains on one device.

    Args:
        name: the network's name, for example resnet18; `--model` of jobs/train.py has the same names.
        classes: number of classes.
        image_size: height and width of the images.
        channels: 1 for grey images, 3 for RGB.
        dropout: fraction of units dropped after a fully connected layer; each network has its own default.
        seed: seed of the initial weights and of dropout; it also sets TensorFlow's global seed.

    Raises:
        UserError: there is no such network, or the images are too small for it.
    """
    for argument, value in (("classes", classes), ("image_size", image_size), ("channels", channels)):
        if type(value) is not int or value < 1:
            raise UserError(f"{argument} is {value!r}: give a whole number of at least 1.")
    settings = ModelSettings(model=name, dropout=dropout)
    with unchanged_session():
        import keras

        from cnn.models.stock import stock_network

        plain = stock_network(build_network(settings, (image_size, image_size, channels), classes, seed))
        # The loss and its gradient are computed from the logits, which Keras finds behind its softmax.
        probabilities = keras.layers.Softmax(dtype=keras.config.floatx(), name="probabilities")(plain.outputs[0])
        return keras.Model(plain.input, probabilities, name=plain.name)
