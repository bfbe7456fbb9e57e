"""The program that exports: the network of a run in forms that other programs load, without this package."""

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
    """Where it goes."""

    output: str | None = None
    """Folder, which must be empty or not there yet; export-STEP in the run folder when not given."""


def export_run(network: NetworkSettings, settings: ExportSettings) -> None:
    """Writes network.keras, saved_model and classes.json; a folder is there whole or not at all."""
    run = open_run(network.folder)
    path = run.checkpoint_path(network.checkpoint)
    _check_name(run.folder if settings.output is None else Path(settings.output))
    import_tensorflow_quietly()
    model, step = run.load_network(network.checkpoint)
    folder = run.folder / f"export-{step:09d}" if settings.output is None else Path(settings.output)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"{folder} is not empty: choose another --output, or remove what is there.")
        shutil.rmtree(unfinished, ignore_errors=True)
        write_export(model, run.data, unfinished)
        unfinished.rename(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another --output.") from error
    print(on_one_line(f"{path} is exported to {folder}: network.keras and saved_model take images of bytes, 0 to 255."))


def _check_name(folder: Path) -> None:
    try:
        os.fsencode(folder).decode()
    except UnicodeDecodeError:
        raise UserError(
            f"{folder} has a name that is no UTF-8, where TensorFlow cannot write: choose another --output."
        ) from None


def write_export(model: "keras.Model", data: RunData, folder: Path) -> None:
    """Writes a network of a run on such data into a new folder."""
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
    """From images of the stored size to the classes' probabilities, in nothing but what Keras has itself.

    It takes what `_bytes_of` takes. Keras would cast what is given to the type of an input of bytes, and so turn images
    from 0 to 1 into black ones; all types are cast to a floating one without loss.
    """
    import keras

    from cnn.models.stock import stock_network

    layers, kind = keras.layers, keras.config.floatx()
    (height, width, _), (rows, columns, _) = data.image_shape, data.input_shape
    top, left = (height - rows) // 2, (width - columns) // 2
    deviation = np.maximum(data.standard_deviation, 1e-3)
    images = keras.Input(data.image_shape, dtype=kind, name="images")
    x, known = _bytes_of(images)
    x = layers.Cropping2D(((top, height - rows - top), (left, width - columns - left)), dtype=kind, name="middle")(x)
    scale, offset = (1 / (255 * deviation)).tolist(), (-np.asarray(data.mean) / deviation).tolist()
    x = layers.Rescaling(scale, offset, dtype=kind, name="standardised")(x)
    probabilities = layers.Softmax(dtype=kind, name="probabilities")(stock_network(model)(x))
    return keras.Model(images, keras.ops.where(known, probabilities, float("nan")), name="network")


def _bytes_of(images: Any) -> tuple[Any, Any]:
    """Images as they are stored, in whole numbers from 0 to 255, by Keras's own operations; and of which, (samples, 1),
    one can know that.

    Whole numbers up to 255 stay as they are. Images with fractions none of which is above 1 are taken for such numbers
    divided by 255. Others are rounded. Of an image with anything below 0 or above 255 nobody can guess how it was
    scaled: it is to have no answer, which is NaN, rather than a wrong one.
    """
    from keras import ops

    places = (1, 2, 3)
    smallest, largest = (each(images, axis=places, keepdims=True) for each in (ops.min, ops.max))
    fractions = ops.any(ops.not_equal(images, ops.round(images)), axis=places, keepdims=True)
    divided = ops.logical_and(fractions, ops.less_equal(largest, 1))
    known = ops.logical_and(ops.greater_equal(smallest, 0), ops.less_equal(largest, 255))
    return ops.round(images * ops.where(divided, 255.0, 1.0)), ops.squeeze(known, (2, 3))


def stored_size_images(images: Any, shape: tuple[int, int, int]) -> Any:
    """The central squares of images (samples, any height, any width, channels), as image files are scaled for a store.

    Images of the stored size stay what they are. What Pillow makes of others differs by rounding.
    """
    import tensorflow as tf

    size = tf.cast(tf.shape(images)[1:3], tf.float32)
    scale = tf.constant(shape[:2], tf.float32) / tf.reduce_min(size)
    middle = tf.constant(shape[:2], tf.float32) / 2 - size / 2 * scale
    scaled = tf.raw_ops.ScaleAndTranslate(
        images=images, size=shape[:2], scale=scale, translation=middle, kernel_type="keyscubic", antialias=True
    )
    return tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8)
