"""Predictions in files, as they come."""

import csv
import json
import os
from pathlib import Path

import pytest

from cnn.monitoring.records.prediction_files import FolderInUseError, PredictionFiles
from cnn.monitoring.records.predictions import Prediction

FIRST = Prediction("a, b.png", [("daisy", 0.75), ("tulip", 0.25)])
SECOND = Prediction('=1\n"é\\xe9".png', [("snowdrop", 1.0), ("daisy", 0.0)])
THIRD = Prediction("c.png", [("tulip", 0.5), ("daisy", 0.5)])


def rows(path: Path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return [*csv.reader(file)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_files_do_not_depend_on_how_predictions_are_split(tmp_path: Path) -> None:
    for folder, parts in (("a", [[FIRST, SECOND, THIRD]]), ("b", [[FIRST], [SECOND, THIRD]])):
        files = PredictionFiles(tmp_path / folder)
        files.begin({"step": 5}, 2)
        for part in parts:
            files.add(part)
        files.finish()
        files.close()
        assert names(tmp_path / folder) == {"predictions.csv", "predictions.json"}
    assert rows(tmp_path / "b" / "predictions.csv") == [
        ["image", "class1", "probability1", "class2", "probability2"],
        ["a, b.png", "daisy", "0.75", "tulip", "0.25"],
        [SECOND.image, "snowdrop", "1.0", "daisy", "0.0"],
        ["c.png", "tulip", "0.5", "daisy", "0.5"],
    ]
    text = (tmp_path / "b" / "predictions.json").read_text()
    expected = {
        "step": 5,
        "predictions": [
            {"image": image, "classes": [{"name": name, "probability": part} for name, part in classes]}
            for image, classes in (FIRST, SECOND, THIRD)
        ],
    }
    assert text == json.dumps(expected, indent=2) + "\n"
    for name in ("predictions.csv", "predictions.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_earlier_files_stay_until_the_end(tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text("earlier")
    files = PredictionFiles(tmp_path)
    files.begin({}, 2)
    files.add([FIRST])
    assert (tmp_path / "predictions.csv").read_text() == "earlier"
    assert [row[0] for row in rows(tmp_path / "predictions.csv.unfinished")] == ["image", "a, b.png"]
    files.close()


def test_left_out_csv_exists_only_if_images_were_left_out(tmp_path: Path) -> None:
    files = PredictionFiles(tmp_path)
    files.begin({}, 2)
    files.leave_out([("x, y.png", "no image"), ("z", "too large")])
    files.add([FIRST])
    files.finish()
    files.close()
    assert rows(tmp_path / "left_out.csv") == [["image", "reason"], ["x, y.png", "no image"], ["z", "too large"]]
    files = PredictionFiles(tmp_path)
    files.begin({}, 2)
    files.add([FIRST])
    files.finish()
    files.close()
    assert names(tmp_path) == {"predictions.csv", "predictions.json"}


def test_a_folder_is_locked_by_one_prediction(tmp_path: Path) -> None:
    files = PredictionFiles(tmp_path)
    with pytest.raises(FolderInUseError):
        PredictionFiles(tmp_path)
    files.close()
    PredictionFiles(tmp_path).close()


def test_no_predictions_leave_no_trace(tmp_path: Path) -> None:
    for folder in (tmp_path / "new" / "folder", tmp_path / "there"):
        os.makedirs(tmp_path / "there", exist_ok=True)
        files = PredictionFiles(folder)
        files.begin({}, 2)
        files.leave_out([("x", "no image")])
        files.close()
    assert not (tmp_path / "new" / "folder").exists()
    assert names(tmp_path / "there") == set()
