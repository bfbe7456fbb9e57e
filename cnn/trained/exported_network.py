"""The function that an export writes: from images to class probabilities."""

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cnn.models.stock import stock_network
from cnn.runs.data_record import RunData
from cnn.trained.image_network import inference_batch_size

_CHECKED = 2
"""Images with which an exported network is compared."""


def image_network(model: keras.Model, data: RunData) -> keras.Model:
    """Returns a model from images of the stored size to class probabilities, made only of Keras's own layers.

    Its input is that of `_to_bytes`. The input type is floating-point, to which all types are cast without loss: with a
    uint8 input, Keras would cast images with values from 0 to 1 to black ones.
    """
    images = keras.Input(data.image_shape, dtype=keras.config.floatx(), name="images")
    x, known = _to_bytes(images)
    return keras.Model(images, keras.ops.where(known, _probabilities(x, model, data), float("nan")), name="network")


def bytes_network(model: keras.Model, data: RunData) -> keras.Model:
    """As `image_network`, for images with values from 0 to 255 only."""
    images = keras.Input(data.image_shape, dtype=keras.config.floatx(), name="images")
    return keras.Model(images, _probabilities(images, model, data), name="network")


def bytes_signature(data: RunData) -> list[Any]:
    """The input of a `bytes_network` in formats that refuse other types than that of their input."""
    return [tf.TensorSpec((None, *data.image_shape), tf.uint8, name="images")]


def _probabilities(x: Any, model: keras.Model, data: RunData) -> Any:
    layers, dtype = keras.layers, keras.config.floatx()
    (height, width, _), (rows, columns, _) = data.image_shape, data.input_shape
    top, left = (height - rows) // 2, (width - columns) // 2
    deviation = np.maximum(data.standard_deviation, 1e-3)
    x = layers.Cropping2D(((top, height - rows - top), (left, width - columns - left)), dtype=dtype, name="middle")(x)
    scale, offset = (1 / (255 * deviation)).tolist(), (-np.asarray(data.mean) / deviation).tolist()
    x = layers.Rescaling(scale, offset, dtype=dtype, name="standardised")(x)
    return layers.Softmax(dtype=dtype, name="probabilities")(stock_network(model)(x))


def _to_bytes(images: Any) -> tuple[Any, Any]:
    """Converts images to whole numbers from 0 to 255 by Keras's own operations; also returns, as (samples, 1), whether
    the scale of each image is known.

    Whole numbers up to 255 stay unchanged. An image with fractions and no value above 1 is multiplied by 255; others
    are rounded. The scale of an image with values below 0 or above 255 cannot be guessed, nor that of one of zeros and
    ones, which are black and white on one scale and all nearly black on the other: their answers must be NaN rather
    than wrong.
    """
    from keras import ops

    places = (1, 2, 3)
    smallest, largest = (each(images, axis=places, keepdims=True) for each in (ops.min, ops.max))
    fractions = ops.any(ops.not_equal(images, ops.round(images)), axis=places, keepdims=True)
    divided = ops.logical_and(fractions, ops.less_equal(largest, 1))
    in_range = ops.logical_and(ops.greater_equal(smallest, 0), ops.less_equal(largest, 255))
    known = ops.logical_and(in_range, ops.logical_or(fractions, ops.not_equal(largest, 1)))
    return ops.round(images * ops.where(divided, 255.0, 1.0)), ops.squeeze(known, (2, 3))


def save_served(model: keras.Model, data: RunData, path: Path) -> None:
    """Writes a SavedModel, whose function `serve` takes uint8 images of any size."""
    network, names = bytes_network(model, data), tf.constant(data.class_names)

    def serve(images: Any) -> dict[str, Any]:
        probabilities = network(stored_size_images(images, data.image_shape), training=False)
        return {
            "probabilities": probabilities,
            "class_names": tf.tile(names[tf.newaxis], (tf.shape(images)[0], 1)),
            "class_name": tf.gather(names, tf.argmax(probabilities, 1)),
        }

    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    images = tf.TensorSpec((None, None, None, data.image_shape[2]), tf.uint8, name="images")
    module.serve = tf.function(serve, input_signature=[images], autograph=False)
    tf.saved_model.save(module, path, signatures=module.serve)


def stored_size_images(images: Any, shape: tuple[int, int, int]) -> Any:
    """Scales the central squares of images (samples, any height, any width, channels), as is done for stored images.

    Images of the stored size stay unchanged. Others differ by rounding from the result of Pillow.
    """
    size = tf.cast(tf.shape(images)[1:3], tf.float32)
    scale = tf.constant(shape[:2], tf.float32) / tf.reduce_min(size)
    middle = tf.constant(shape[:2], tf.float32) / 2 - size / 2 * scale
    scaled = tf.raw_ops.ScaleAndTranslate(
        images=images, size=shape[:2], scale=scale, translation=middle, kernel_type="keyscubic", antialias=True
    )
    return tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8)


def check_images(model: keras.Model, data: RunData) -> tuple[np.ndarray, np.ndarray]:
    """Images of the stored size, uint8, and a network's probabilities of them.

    They are those of some random images of which the network is the least certain: where it is certain, its
    probabilities are 0 and 1, whatever small errors the exported network makes.
    """
    random = np.random.default_rng(0)
    height, width, channels = data.image_shape
    images = []
    for block, contrast in itertools.product((1, 4, 16, max(height, width)), (0.1, 0.3, 1, 3)):
        coarse = random.normal(size=(-(-height // block), -(-width // block), channels))
        noise = coarse.repeat(block, 0).repeat(block, 1)[:height, :width]
        images.append((255 * (data.mean + contrast * noise * data.standard_deviation)).clip(0, 255).astype(np.uint8))
    batch = inference_batch_size(data)
    batches = [np.stack(images[first : first + batch]) for first in range(0, len(images), batch)]
    expected = np.concatenate([expected_probabilities(model, data, each) for each in batches])
    chosen = np.argsort(expected.max(1), kind="stable")[:_CHECKED]
    return np.stack(images)[chosen], expected[chosen]


def expected_probabilities(model: keras.Model, data: RunData, images: np.ndarray) -> np.ndarray:
    """A network's probabilities of uint8 images of the stored size, which are standardised here as by a feed.

    Args:
        model: a network that returns logits, or a list of logits and auxiliary logits.
        data: describes the data that it was trained on.
        images: the images.
    """
    from cnn.learner.classifier import log_probabilities

    (height, width, _), (rows, columns, _) = data.image_shape, data.input_shape
    top, left = (height - rows) // 2, (width - columns) // 2
    pixels = images[:, top : top + rows, left : left + columns]
    deviation = np.maximum(data.standard_deviation, 1e-3)
    outputs = model(((pixels / 255 - data.mean) / deviation).astype(keras.config.floatx()), training=False)
    logits = outputs[0] if isinstance(outputs, list) else outputs
    return np.asarray(np.exp(log_probabilities(np.asarray(keras.ops.cast(logits, keras.config.floatx())))))
