"""A run's network in Python answers as the programs do."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import cnn
from cnn.data.sources.registry import open_dataset
from cnn.errors import UserError
from cnn.learner.precision import use_precision
from cnn.runs.saved_run import NetworkSettings, SavedRun
from cnn.trained.prediction import PredictionSettings, predict

MakeRun = Callable[..., SavedRun]


@pytest.fixture
def run(make_run: MakeRun) -> SavedRun:
    return make_run("--model", "lenet5-like")


@pytest.fixture
def digits(run: SavedRun) -> np.ndarray:
    return open_dataset(run.settings.data).test.images[:40]


def test_arrays_and_files_get_the_answers_of_predict(run: SavedRun, digits: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    folder.mkdir()
    for number, image in enumerate(digits):
        Image.fromarray(image[..., 0]).save(folder / f"{number:02}.png")
    (folder / "bad.png").write_text("no image")
    predict(NetworkSettings(run_dir=str(run.folder), checkpoint="9"), PredictionSettings(images=[str(folder)], top=10))
    written = json.loads((run.folder / "predictions/predictions.json").read_text())["predictions"]

    trained = cnn.load(run.folder, 9)
    assert (trained.step, trained.class_names) == (9, tuple("0123456789"))
    by_files, by_arrays = trained.predict(folder), trained.predict(digits)
    assert by_files.files == tuple(each["image"] for each in written)
    assert by_files.left_out == {str(folder / "bad.png"): "a text file"}
    assert by_arrays.probabilities.tobytes() == by_files.probabilities.tobytes()
    assert by_arrays.names == [each["classes"][0]["name"] for each in written]
    for row, each in zip(by_arrays.probabilities, written, strict=True):
        assert {name: row[int(name)] for name in trained.class_names} == {
            one["name"]: one["probability"] for one in each["classes"]
        }
    names = [str(folder / "07.png"), folder / "03.png"]
    assert trained.predict(names).probabilities.tobytes() == by_files.probabilities[[7, 3]].tobytes()


def test_predictions_are_shown_as_a_table(run: SavedRun, digits: np.ndarray) -> None:
    predictions = cnn.load(run.folder).predict(digits[:25])
    lines = repr(predictions).splitlines()
    assert len(lines) == 22
    assert lines[0].split() == ["image", "likeliest", "2.", "3."]
    assert lines[1].split()[:2] == ["0", predictions.names[0]]
    assert lines[-1] == "... 25 images"
    assert "lenet5-like on digits" in repr(cnn.load(run.folder))


def test_the_keras_model_answers_the_same(run: SavedRun, digits: np.ndarray) -> None:
    trained = cnn.load(run.folder)
    expected = trained.predict(digits).probabilities
    np.testing.assert_allclose(trained.network.predict(digits, verbose=0), expected, atol=1e-5)
    assert all(type(layer).__module__.startswith("keras.") for layer in trained.network.layers)


def test_loading_does_not_change_the_session(make_run: MakeRun) -> None:
    run = make_run("--model", "fcnn", "--precision", "float64")
    use_precision("float32")
    np.random.seed(1)  # as users do
    random.seed(1)
    expected = np.random.rand(), random.random()
    np.random.seed(1)
    random.seed(1)
    trained = cnn.load(run.folder)
    assert trained.network.dtype == "float64"
    assert (np.random.rand(), random.random()) == expected
    assert keras.config.floatx() == "float32"
    assert keras.layers.Dense(3).compute_dtype == "float32"


def test_mistakes(run: SavedRun, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        cnn.load(tmp_path)
    with pytest.raises(UserError, match="unknown checkpoint of .* '7': choose one of best, last, 5, 9"):
        cnn.load(run.folder, 7)
    trained = cnn.load(run.folder)
    with pytest.raises(UserError, match="not found: nowhere.png"):
        trained.predict("nowhere.png")
    for number in range(12):
        (tmp_path / f"{number:02}.png").write_text("no image")
    with pytest.raises(UserError, match=r"no readable image: .*09.png \(a text file\), and 2 more; name other files"):
        trained.predict(tmp_path)
    with pytest.raises(UserError, match="does not hold images"):
        trained.predict(3)
