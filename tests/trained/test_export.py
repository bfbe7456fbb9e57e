"""Exported networks, loaded by a process that cannot import ours."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.special import softmax

from cnn.errors import RunError, UserError
from cnn.learner.precision import use_precision
from cnn.models.group_batch_normalization import GroupBatchNormalization
from cnn.models.layers import (
    Dropout,
    FewChannelConv2D,
    HalvingAveragePooling2D,
    LocalResponseNormalization,
)
from cnn.runs.data_record import RunData
from cnn.runs.saved_run import NetworkSettings, SavedRun
from cnn.trained.export import ExportSettings, export_run, write_export
from cnn.trained.export_formats import FORMATS
from cnn.trained.exported_network import expected_probabilities, image_network, stored_size_images

MakeRun = Callable[..., SavedRun]

LOAD = """
import sys
sys.modules["cnn"] = None  # from now on importing it fails
import keras, numpy as np, tensorflow as tf
images, large = np.load("images.npy"), np.load("large.npy")
served = tf.saved_model.load("export/saved_model").signatures["serving_default"]
results = {name: tensor.numpy() for name, tensor in served(images=tf.constant(images)).items()}
results["keras"] = keras.models.load_model("export/network.keras")(images).numpy()
results["large"] = served(images=tf.constant(large))["probabilities"].numpy()
for name in ("class_name", "class_names"):
    results[name] = np.char.decode(results[name].astype("S"), "utf-8")
np.savez("results.npz", **results)
"""


DATA = RunData(
    name="folder",
    class_names=("a dog", "eine Katze", "größe"),
    image_shape=(33, 33, 3),
    input_shape=(28, 28, 3),
    mean=(0.4, 0.5, 0.6),
    standard_deviation=(0.2, 0.25, 0.3),
    checksum="0",
)


@pytest.fixture
def network() -> keras.Model:
    """One of all layers that are our own."""
    images = x = keras.Input(DATA.input_shape)
    x = FewChannelConv2D(6, 5, padding="same", activation="relu", name="conv")(x)
    x = HalvingAveragePooling2D(name="pool")(x)
    x = GroupBatchNormalization(name="bn")(x)
    x = LocalResponseNormalization(alpha=0.1, name="norm")(x)
    x = Dropout(0.5, name="dropout")(keras.layers.Flatten(name="flatten")(x))
    network = keras.Model(images, keras.layers.Dense(3, name="logits")(x))
    random = np.random.default_rng(4)
    for variable in network.variables:
        variable.assign(random.uniform(0.05, 0.2, variable.shape) * random.choice([1, -1], variable.shape))
    network.get_layer("logits").kernel.assign(random.normal(0, 0.1, network.get_layer("logits").kernel.shape))
    network.get_layer("bn").moving_variance.assign(np.linspace(0.2, 2, 6))
    return network


def test_other_programs_get_the_same_probabilities(network: keras.Model, tmp_path: Path) -> None:
    write_export(network, DATA, tmp_path / "export", ["keras", "saved_model"])
    colours = np.array([[20, 20, 20], [230, 40, 40], [40, 230, 60], [60, 40, 250], [240, 240, 240]])
    noise = np.random.default_rng(1).integers(-20, 16, (5, 33, 33, 3))
    images = (colours[:, np.newaxis, np.newaxis] + noise).astype(np.uint8)
    large = images.repeat(3, 1).repeat(3, 2)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "large.npy", np.pad(large, ((0, 0), (0, 0), (40, 40), (0, 0)), mode="reflect"))
    done = subprocess.run([sys.executable, "-c", LOAD], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = np.load(tmp_path / "results.npz")

    standardised = (images[:, 2:30, 2:30] / 255 - DATA.mean) / DATA.standard_deviation
    expected = softmax(network(standardised.astype(np.float32), training=False).numpy().astype(np.float64), 1)
    assert len({*expected.argmax(1)}) > 1  # so that they tell something
    np.testing.assert_allclose(results["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(results["keras"], expected, atol=1e-5)
    assert np.abs(results["large"] - expected).max() < 0.02
    assert results["class_names"].tolist() == [list(DATA.class_names)] * 5
    assert results["class_name"].tolist() == [DATA.class_names[label] for label in expected.argmax(1)]
    assert json.loads((tmp_path / "export" / "classes.json").read_text()) == list(DATA.class_names)


@pytest.mark.parametrize("size", [(73, 73), (200, 311), (90, 61)])
def test_images_of_other_sizes_are_scaled_as_pillow_scales_their_central_square(size: tuple[int, int]) -> None:
    height, width = size
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, (height // 5, width // 5, 3), np.uint8))
    image = noise.resize((width, height), Image.Resampling.BICUBIC)
    side = min(size)
    left, top = (width - side) / 2, (height - side) / 2
    expected = image.resize((73, 73), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    scaled = stored_size_images(tf.constant(np.asarray(image)[np.newaxis]), (73, 73, 3)).numpy()[0]
    limit = 0 if size == (73, 73) else 5
    assert np.abs(scaled.astype(int) - np.asarray(expected)).max() <= limit


def test_a_folder_in_use_is_left_alone(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("--model", "fcnn")
    network = NetworkSettings(run_dir=str(run.folder))
    export_run(network, ExportSettings())
    names = {path.name for path in (run.folder / "export-000000005").iterdir()}
    assert names == {"classes.json", "network.keras", "saved_model"}
    with pytest.raises(UserError, match="is not empty: choose another --output"):
        export_run(network, ExportSettings())
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        export_run(network, ExportSettings(output=str(tmp_path / "file" / "below")))
    assert {path.name for path in run.folder.glob("export*")} == {"export-000000005"}


def test_a_name_that_tensorflow_cannot_write_to(make_run: MakeRun, tmp_path: Path) -> None:
    network = NetworkSettings(run_dir=str(make_run("--model", "fcnn").folder))
    with pytest.raises(UserError, match="is not UTF-8, as TensorFlow requires: choose another --output"):
        export_run(network, ExportSettings(output=str(tmp_path / "caf\udce9")))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.fixture
def loaded(network: keras.Model, tmp_path: Path) -> keras.Model:
    image_network(network, DATA).save(tmp_path / "network.keras")
    return keras.models.load_model(tmp_path / "network.keras")


IMAGES = np.random.default_rng(3).integers(0, 256, (4, 33, 33, 3), np.uint8)


@pytest.mark.parametrize(
    "images",
    [
        IMAGES.astype(np.float32),
        IMAGES.astype(np.int64),
        IMAGES / 255,
        (IMAGES / 255).astype(np.float32),
        (IMAGES / 255).astype(np.float16),
        (IMAGES + np.random.default_rng(4).uniform(-0.3, 0.3, IMAGES.shape)).clip(0, 255),
        tf.constant(IMAGES / 255),
    ],
    ids=["float", "int64", "float64 to 1", "float32 to 1", "float16 to 1", "with fractions", "tensor to 1"],
)
def test_images_of_any_usual_scale_get_the_same_answers(loaded: keras.Model, images: np.ndarray) -> None:
    expected, given = (np.asarray(loaded(each)) for each in (IMAGES, images))
    assert np.array_equal(given, expected)
    assert np.array_equal(loaded.predict(images, verbose=0), loaded.predict(IMAGES, verbose=0))


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_zeros_and_ones_may_be_black_and_white_or_all_dark_and_get_no_answer(
    loaded: keras.Model, network: keras.Model, kind: type
) -> None:
    images = np.random.default_rng(5).integers(0, 2, IMAGES.shape)
    images[1] = 0  # black on any scale
    images[2, 0, 0, 0] = 2  # no image to 1
    found = np.asarray(loaded(images.astype(kind)))
    assert np.isnan(found).all(1).tolist() == [True, False, False, True]
    expected = expected_probabilities(network, DATA, images)
    np.testing.assert_allclose(found[1:3], expected[1:3], atol=1e-6)


@pytest.mark.parametrize(
    "images",
    [IMAGES / 127.5 - 1, (IMAGES / 255 - 0.5) / 0.2, IMAGES.astype(np.uint16) * 257, IMAGES / 255 + np.nan],
    ids=["-1 to 1", "standardised", "16 bits", "no numbers"],
)
def test_images_of_a_scale_that_cannot_be_known_get_no_answer(loaded: keras.Model, images: np.ndarray) -> None:
    assert np.isnan(np.asarray(loaded(images))).all()
    mixed = np.concatenate([np.asarray(images, np.float32), IMAGES])
    assert np.isnan(loaded.predict(mixed, verbose=0)).all(1).tolist() == [True] * 4 + [False] * 4


HAS_ONNX = all(map(importlib.util.find_spec, FORMATS["onnx"].packages))


@pytest.mark.parametrize(
    "name",
    ["tflite", pytest.param("onnx", marks=pytest.mark.skipif(not HAS_ONNX, reason="needs tf2onnx and onnxruntime"))],
)
def test_a_file_for_other_runtimes_takes_bytes_only(network: keras.Model, tmp_path: Path, name: str) -> None:
    write_export(network, DATA, tmp_path, [name])
    path, probabilities = tmp_path / FORMATS[name].file, FORMATS[name].probabilities
    images = np.concatenate([IMAGES, IMAGES // 4])  # as many as one likes
    expected = expected_probabilities(network, DATA, images)
    np.testing.assert_allclose(probabilities(path, images), expected, atol=1e-5)
    assert np.ptp(expected, 0).max() > 0.01  # so that they tell something
    for wrong in ((IMAGES / 255).astype(np.float32), IMAGES.astype(np.float32)):
        with pytest.raises(Exception, match="(?i)(expected|uint8)"):
            probabilities(path, wrong)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_a_tflite_file_has_operations_of_every_interpreter(network: keras.Model, tmp_path: Path) -> None:
    write_export(network, DATA, tmp_path, ["tflite"])
    interpreter = tf.lite.Interpreter(str(tmp_path / "network.tflite"))
    operations = {each["op_name"] for each in interpreter._get_ops_details()}
    assert "CONV_2D" in operations
    assert not [name for name in operations if name.startswith(("Flex", "Custom"))]


def test_a_network_that_was_written_wrongly_is_noticed(
    network: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = FORMATS["keras"].write

    def write_other(model: keras.Model, data: RunData, path: Path) -> None:
        write(model, dataclasses.replace(data, mean=(0.4, 0.5, 0.61)), path)

    monkeypatch.setitem(FORMATS, "keras", FORMATS["keras"]._replace(write=write_other))
    with pytest.raises(RunError, match="the format keras computes other probabilities .* leave this format out"):
        write_export(network, DATA, tmp_path, ["saved_model", "keras"])


@pytest.mark.parametrize("precision", ["float64", "mixed_bfloat16"])
def test_formats_of_float32_hold_networks_that_compute_in_another_precision(make_run: MakeRun, precision: str) -> None:
    run = make_run("--model", "lenet5-like", "--precision", precision)
    try:
        export_run(NetworkSettings(run_dir=str(run.folder)), ExportSettings(formats=["keras", "tflite"]))
    finally:
        use_precision("float32")
    images = np.random.default_rng(1).integers(0, 256, (2, *run.data.image_shape), np.uint8)
    path = run.folder / "export-000000005" / "network.tflite"
    expected = expected_probabilities(run.load_network("best")[0], run.data, images)
    use_precision("float32")
    np.testing.assert_allclose(FORMATS["tflite"].probabilities(path, images), expected, atol=0.05)


def test_formats_that_cannot_be_written_are_refused_at_once(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown format 'onyx': choose one of .* Did you mean 'onnx'?"):
        ExportSettings(formats=["keras", "onyx"])
    for name in ("tf2onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    run = make_run("--model", "fcnn")
    with pytest.raises(UserError, match="install tf2onnx and onnxruntime, for example by `uv pip install tf2onnx onnx"):
        export_run(NetworkSettings(run_dir=str(run.folder)), ExportSettings(formats=["keras", "onnx"]))
    assert not [*run.folder.glob("export*")]


def test_the_size_of_images_is_told(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (20, 20), (40 * number, 0, 0)).save(tmp_path / "images" / name / f"{number}.png")
    run = make_run("--model", "fcnn", "--data", "folder", "--data_dir", tmp_path / "images", "--image_size", 64)
    export_run(NetworkSettings(run_dir=str(run.folder)), ExportSettings())
    [line] = capsys.readouterr().out.splitlines()
    assert (
        ": network.keras, saved_model take uint8 images (0 to 255) of 73 x 73 pixels, of which the network sees the "
        "central 64 x 64; saved_model also takes other sizes, and scales them. " in line
    )


def test_the_saved_model_refuses_what_is_not_bytes(network: keras.Model, tmp_path: Path) -> None:
    write_export(network, DATA, tmp_path / "export", ["saved_model"])
    served = tf.saved_model.load(tmp_path / "export" / "saved_model")
    for images in (IMAGES / 255, IMAGES.astype(np.float32), IMAGES.astype(np.int64)):
        for serve in (served.serve, served.signatures["serving_default"]):
            with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError)):
                serve(images=tf.constant(images))
