"""Predicting image files."""

import contextlib
import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from cnn.data.sources.registry import open_dataset
from cnn.errors import UserError
from cnn.monitoring.records.prediction_files import PredictionFiles
from cnn.monitoring.records.predictions import Prediction
from cnn.runs.saved_run import NetworkSettings, SavedRun
from cnn.trained import prediction_output
from cnn.trained.image_network import ImageNetwork, inference_batch_size
from cnn.trained.prediction import PredictionSettings, predict

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


@pytest.mark.parametrize(("model", "size"), [("fcnn", 8), ("alexnet-bn", 64)])
def test_probabilities_of_an_image_do_not_depend_on_other_images(make_run: MakeRun, model: str, size: int) -> None:
    run = make_run("--model", model, "--image_size", size, "--data", "synthetic")
    images = open_dataset(run.settings.data).test.images[:40]
    network, _ = run.load_network("best")
    probabilities = ImageNetwork(run, network)
    batch_size = inference_batch_size(run.data)
    together = np.concatenate([probabilities(images[:batch_size]), probabilities(images[batch_size:])])
    assert together.shape == (40, 10)
    np.testing.assert_allclose(together.sum(1), 1, rtol=1e-12)
    assert probabilities(images[:batch_size][::-1]).tobytes() == together[:batch_size][::-1].tobytes()
    for position in (0, 17, 39):
        assert probabilities(images[position : position + 1]).tobytes() == together[position].tobytes()


def test_the_inference_batch_size_follows_from_the_image_size(make_run: MakeRun) -> None:
    data = make_run("--model", "fcnn").data
    shapes = [(size, size, 1) for size in (8, 64, 224, 1024)]
    sizes = [dataclasses.replace(data, image_shape=shape, input_shape=shape) for shape in shapes]
    assert [inference_batch_size(each) for each in sizes] == [32, 32, 10, 2]


def outcome(run: SavedRun, output: Path, *images: Path) -> dict[str, bytes]:
    predict(
        NetworkSettings(run_dir=str(run.folder)), PredictionSettings(images=[*map(str, images)], output=str(output))
    )
    return {path.name: path.read_bytes() for path in output.iterdir()}


def test_images_that_cannot_be_read_are_left_out_and_reported(
    pictures: tuple[SavedRun, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = pictures
    expected = outcome(run, tmp_path / "sound", folder)
    assert capsys.readouterr().err == ""
    for number in range(90):
        (folder / f"1a{number:02}\n.png").write_text("no image")
    written = outcome(run, tmp_path / "all", folder)
    told = capsys.readouterr()
    assert {name: written[name] for name in expected} == expected
    assert written.keys() - expected.keys() == {"left_out.csv"}
    with open(tmp_path / "all" / "left_out.csv", encoding="utf-8", newline="") as file:
        left_out = [*csv.reader(file)]
    assert left_out[0] == ["image", "reason"]
    assert left_out[1:] == [[f"{folder}/1a{number:02}\\n.png", "a text file"] for number in range(90)]
    lines = told.err.splitlines()
    assert lines[0] == f"90 of 93 files are left out; all are listed in {tmp_path / 'all' / 'left_out.csv'}:"
    assert lines[1:] == [f"  {folder}/1a{number:02}\\n.png (a text file)" for number in range(10)]
    assert len(told.out.splitlines()) == 6
    assert outcome(run, tmp_path / "all", *(folder / f"{number}.png" for number in range(3))).keys() == expected.keys()


def test_where_nothing_is_an_image_nothing_is_written(pictures: tuple[SavedRun, Path], tmp_path: Path) -> None:
    run, folder = pictures
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(UserError, match="no readable image: .*bad.png") as caught:
        outcome(run, tmp_path / "out", folder / "bad.png")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_picture_of_an_earlier_prediction_is_no_image(pictures: tuple[SavedRun, Path]) -> None:
    run, folder = pictures
    first = outcome(run, folder, folder)
    second = outcome(run, folder, folder)
    assert first.keys() == second.keys()
    for name in ("predictions.csv", "predictions.json", "predictions.png"):
        assert first[name] == second[name]


def test_large_images_are_kept_for_the_picture_no_larger_than_it_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[np.ndarray] = []
    monkeypatch.setattr(prediction_output, "draw_predictions", lambda _, images, *rest, **more: drawn.extend(images))
    with prediction_output.PredictionOutput(tmp_path, ["a", "b", "c"]) as output:
        output.begin({"model": "m", "data": "d", "step": 1}, 1)
        for size, channels in ((28, 1), (1024, 1), (1100, 3)):
            image = np.full((1, size, size, channels), 7, np.uint8)
            output.add([Prediction("a", [("cat", 1.0)])], image)
        output.finish()
    assert [image.shape for image in drawn] == [(28, 28, 1), (512, 512, 1), (550, 550, 3)]
    assert all(np.all(image == 7) for image in drawn)


def test_mistakes(make_run: MakeRun, pictures: tuple[SavedRun, Path], tmp_path: Path) -> None:
    run, folder = pictures
    with pytest.raises(UserError, match="--images is missing"):
        PredictionSettings()
    with pytest.raises(UserError, match="--top 0 is less than 1"):
        PredictionSettings(images=["x"], top=0)
    network = NetworkSettings(run_dir=str(run.folder))
    with pytest.raises(UserError, match="not found: .*nowhere; name image files"):
        predict(network, PredictionSettings(images=[str(tmp_path / "nowhere")]))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written .* choose another --output"):
        predict(network, PredictionSettings(images=[str(folder)], output=str(tmp_path / "file")))
    with (
        contextlib.closing(PredictionFiles(tmp_path / "out")),
        pytest.raises(UserError, match="another prediction writes to .*out: wait until it ends, or choose another"),
    ):
        outcome(run, tmp_path / "out", folder)
