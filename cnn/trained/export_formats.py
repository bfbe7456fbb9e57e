"""The formats of an export: how a network is written in each, and how the written network is used."""

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnn.runs.data_record import RunData

if TYPE_CHECKING:
    import keras


class Format(NamedTuple):
    """A format."""

    file: str
    """Name of its file or folder."""

    write: Callable[["keras.Model", RunData, Path], None]
    """Writes a network, which was trained on data of this description, to a path."""

    probabilities: Callable[[Path, np.ndarray], np.ndarray]
    """The written network's probabilities of uint8 images of the stored size."""

    packages: tuple[str, ...] = ()
    """Packages that it needs besides those of this project."""

    only_float32: bool = False
    """Whether it can hold only networks that compute in float32."""


def _write_keras(model: "keras.Model", data: RunData, path: Path) -> None:
    from cnn.trained.exported_network import image_network

    image_network(model, data).save(path)


def _keras_probabilities(path: Path, images: np.ndarray) -> np.ndarray:
    import keras

    return np.asarray(keras.models.load_model(path, compile=False)(images))


def _write_saved_model(model: "keras.Model", data: RunData, path: Path) -> None:
    from cnn.trained.exported_network import save_served

    save_served(model, data, path)


def _saved_model_probabilities(path: Path, images: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    loaded = tf.saved_model.load(path)  # which holds the variables
    return np.asarray(loaded.serve(tf.constant(images))["probabilities"])


def _write_onnx(model: "keras.Model", data: RunData, path: Path) -> None:
    from cnn.trained.exported_network import bytes_network, bytes_signature

    network, signature = bytes_network(model, data), bytes_signature(data)
    with warnings.catch_warnings():  # of names that Keras gives to NumPy for the sake of tf2onnx
        warnings.simplefilter("ignore", FutureWarning)
        network.export(path, format="onnx", verbose=False, input_signature=signature)


def _onnx_probabilities(path: Path, images: np.ndarray) -> np.ndarray:
    onnxruntime = importlib.import_module("onnxruntime")  # mypy would miss it where it is not installed
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0])


def _write_tflite(model: "keras.Model", data: RunData, path: Path) -> None:
    import tensorflow as tf

    from cnn.trained.exported_network import bytes_network, bytes_signature

    # Not TensorFlow's other operations, which interpreters on small devices lack.
    own = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    network, signature = bytes_network(model, data), bytes_signature(data)
    network.export(path, format="litert", verbose=False, input_signature=signature, target_spec=own)


def _tflite_probabilities(path: Path, images: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    with warnings.catch_warnings():  # that another package will have the interpreter in future
        warnings.simplefilter("ignore", UserWarning)
        # The default delegate would write a line to the terminal.
        plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = tf.lite.Interpreter(str(path), experimental_op_resolver_type=plain)
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, images)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


FORMATS = {
    "keras": Format("network.keras", _write_keras, _keras_probabilities),
    "saved_model": Format("saved_model", _write_saved_model, _saved_model_probabilities),
    "onnx": Format("network.onnx", _write_onnx, _onnx_probabilities, ("tf2onnx", "onnxruntime"), only_float32=True),
    "tflite": Format("network.tflite", _write_tflite, _tflite_probabilities, only_float32=True),
}
