"""Export of a run's network to formats that other programs load without this package."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.errors import UserError
from cnn.quiet_import import import_tensorflow_quietly
from cnn.runs.data_record import RunData
from cnn.runs.saved_run import NetworkSettings, open_run
from cnn.shown_text import on_one_line

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """The export."""

    output: str | None = None
    """Folder of the export, empty or missing; by default export-STEP in the run folder."""


def export_run(network: NetworkSettings, settings: ExportSettings) -> None:
    """Writes network.keras, saved_model and classes.json; the folder appears only when complete."""
    run = open_run(network.folder)
    path = run.checkpoint_path(network.checkpoint)
    _check_name(run.folder if settings.output is None else Path(settings.output))
    import_tensorflow_quietly()
    model, step = run.load_network(network.checkpoint)
    folder = run.folder / f"export-{step:09d}" if settings.output is None else Path(settings.output)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"{folder} is not empty: choose another --output, or empty it.")
        shutil.rmtree(unfinished, ignore_errors=True)
        write_export(model, run.data, unfinished)
        unfinished.rename(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another --output.") from error
    print(on_one_line(f"Exported {path} to {folder}: network.keras and saved_model take uint8 images (0 to 255)."))


def _check_name(folder: Path) -> None:
    try:
        os.fsencode(folder).decode()
    except UnicodeDecodeError:
        raise UserError(f"the path {folder} is not UTF-8, as TensorFlow requires: choose another --output.") from None


def write_export(model: "keras.Model", data: RunData, folder: Path) -> None:
    """Writes a network into a new folder; `data` describes the data that it was trained on."""
    import tensorflow as tf

    folder.mkdir(parents=True)
    network = image_network(model, data)
    network.save(folder / "network.keras")
    (folder / "classes.json").write_text(json.dumps(data.class_names, indent=2) + "\n", encoding="utf-8")
    names = tf.constant(data.class_names)

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
    tf.saved_model.save(module, folder / "saved_model", signatures=module.serve)


def image_network(model: "keras.Model", data: RunData) -> "keras.Model":
    """Returns a model from images of the stored size to class probabilities, made only of Keras's own layers.

    Its input is that of `_to_bytes`. The input type is floating-point, to which all types are cast without loss: with a
    uint8 input, Keras would cast images with values from 0 to 1 to black ones.
    """
    import keras

    from cnn.models.stock import stock_network

    layers, dtype = keras.layers, keras.config.floatx()
    (height, width, _), (rows, columns, _) = data.image_shape, data.input_shape
    top, left = (height - rows) // 2, (width - columns) // 2
    deviation = np.maximum(data.standard_deviation, 1e-3)
    images = keras.Input(data.image_shape, dtype=dtype, name="images")
    x, known = _to_bytes(images)
    x = layers.Cropping2D(((top, height - rows - top), (left, width - columns - left)), dtype=dtype, name="middle")(x)
    scale, offset = (1 / (255 * deviation)).tolist(), (-np.asarray(data.mean) / deviation).tolist()
    x = layers.Rescaling(scale, offset, dtype=dtype, name="standardised")(x)
    probabilities = layers.Softmax(dtype=dtype, name="probabilities")(stock_network(model)(x))
    return keras.Model(images, keras.ops.where(known, probabilities, float("nan")), name="network")


def _to_bytes(images: Any) -> tuple[Any, Any]:
    """Converts images to whole numbers from 0 to 255 by Keras's own operations; also returns, as (samples, 1), whether
    the scale of each image is known.

    Whole numbers up to 255 stay unchanged. An image with fractions and no value above 1 is multiplied by 255; others
    are rounded. The scale of an image with values below 0 or above 255 cannot be guessed: its answer must be NaN rather
    than wrong.
    """
    from keras import ops

    places = (1, 2, 3)
    smallest, largest = (each(images, axis=places, keepdims=True) for each in (ops.min, ops.max))
    fractions = ops.any(ops.not_equal(images, ops.round(images)), axis=places, keepdims=True)
    divided = ops.logical_and(fractions, ops.less_equal(largest, 1))
    known = ops.logical_and(ops.greater_equal(smallest, 0), ops.less_equal(largest, 255))
    return ops.round(images * ops.where(divided, 255.0, 1.0)), ops.squeeze(known, (2, 3))


def stored_size_images(images: Any, shape: tuple[int, int, int]) -> Any:
    """Scales the central squares of images (samples, any height, any width, channels), as is done for stored images.

    Images of the stored size stay unchanged. Others differ by rounding from the result of Pillow.
    """
    import tensorflow as tf

    size = tf.cast(tf.shape(images)[1:3], tf.float32)
    scale = tf.constant(shape[:2], tf.float32) / tf.reduce_min(size)
    middle = tf.constant(shape[:2], tf.float32) / 2 - size / 2 * scale
    scaled = tf.raw_ops.ScaleAndTranslate(
        images=images, size=shape[:2], scale=scale, translation=middle, kernel_type="keyscubic", antialias=True
    )
    return tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8)
