"""Predicting image files."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from cnn.data.registry import open_dataset
from cnn.errors import UserError
from cnn.training.prediction import PredictionSettings, image_probabilities, predict
from cnn.training.saved_run import NetworkSettings, SavedRun

MakeRun = Callable[..., SavedRun]


@pytest.fixture
def pictures(tmp_path: Path, make_run: MakeRun) -> tuple[SavedRun, Path]:
    """A run on digits, and the first three test digits as files."""
    run = make_run("--model", "lenet5-like")
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(open_dataset(run.settings.data).test.images[:3]):
        Image.fromarray(image[..., 0]).save(tmp_path / "pictures" / f"{number}.png")
    return run, tmp_path / "pictures"


def test_the_probabilities_are_those_of_the_same_test_images(
    pictures: tuple[SavedRun, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = pictures
    predict(NetworkSettings(run_dir=str(run.folder), checkpoint="9"), PredictionSettings(images=[str(folder)], top=4))
    dataset = open_dataset(run.settings.data)
    network, _ = run.load_network("9")
    standardised = (dataset.test.images[:3] / 255 - dataset.mean) / dataset.standard_deviation
    expected = softmax(network(standardised.astype(np.float32), training=False).numpy().astype(np.float64), 1)

    result = json.loads((run.folder / "predictions" / "predictions.json").read_text())
    assert (result["model"], result["data"], result["step"]) == ("lenet5-like", "digits", 9)
    lines = capsys.readouterr().out.splitlines()
    for number, (each, row) in enumerate(zip(result["predictions"], expected, strict=True)):
        assert each["image"] == str(folder / f"{number}.png")
        labels = [dataset.class_names.index(one["name"]) for one in each["classes"]]
        parts = [one["probability"] for one in each["classes"]]
        assert len(labels) == 4
        assert labels[0] == row.argmax()
        assert parts == sorted(parts, reverse=True)
        np.testing.assert_allclose(parts, row[labels], rtol=1e-4)
        assert f"{labels[0]} {100 * parts[0]:.1f} %" in lines[1 + number]
    with open(run.folder / "predictions" / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["class1"] for row in rows] == [each["classes"][0]["name"] for each in result["predictions"]]
    assert (run.folder / "predictions" / "predictions.png").read_bytes().startswith(b"\x89PNG")


def test_many_images_give_what_one_gives(make_run: MakeRun) -> None:
    run = make_run("--model", "fcnn")
    images = open_dataset(run.settings.data).test.images[:230]
    network, _ = run.load_network("best")
    probabilities = image_probabilities(run, network, images)
    assert probabilities.shape == (230, 10)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-12)
    for position in (0, 150, 229):
        alone = image_probabilities(run, network, images[position : position + 1])
        np.testing.assert_allclose(probabilities[position], alone[0], atol=1e-6)


def test_what_is_no_image_is_named_before_anything_is_written(pictures: tuple[SavedRun, Path], tmp_path: Path) -> None:
    run, folder = pictures
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(UserError, match="no image, or a damaged one: .*bad.png") as caught:
        predict(
            NetworkSettings(run_dir=str(run.folder)),
            PredictionSettings(images=[str(folder)], output=str(tmp_path / "out")),
        )
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_mistakes(make_run: MakeRun, pictures: tuple[SavedRun, Path], tmp_path: Path) -> None:
    run, folder = pictures
    with pytest.raises(UserError, match="--images is missing"):
        PredictionSettings()
    with pytest.raises(UserError, match="--top 0 is less than 1"):
        PredictionSettings(images=["x"], top=0)
    network = NetworkSettings(run_dir=str(run.folder))
    with pytest.raises(UserError, match="nowhere .cannot be decoded: No such file"):
        predict(network, PredictionSettings(images=[str(tmp_path / "nowhere")]))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written .* choose another --output"):
        predict(network, PredictionSettings(images=[str(folder)], output=str(tmp_path / "file")))
