import csv
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from cnn.monitoring.predictions import (
    Prediction,
    draw_predictions,
    prediction_table,
    write_csv,
    write_predictions,
)

PREDICTIONS = [
    Prediction("a, b.png", [("daisy", 0.75), ("tulip", 0.25)]),
    Prediction("é.png", [("snowdrop", 1.0), ("daisy", 0.0)]),
]


def test_the_table() -> None:
    assert prediction_table(PREDICTIONS).splitlines() == [
        "image     likeliest         2.",
        "a, b.png  daisy 75.0 %      tulip 25.0 %",
        "é.png     snowdrop 100.0 %  daisy 0.0 %",
    ]


def test_files_for_programs(tmp_path: Path) -> None:
    write_csv(PREDICTIONS, tmp_path / "p.csv")
    with open(tmp_path / "p.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["image", "class1", "probability1", "class2", "probability2"],
            ["a, b.png", "daisy", "0.75", "tulip", "0.25"],
            ["é.png", "snowdrop", "1.0", "daisy", "0.0"],
        ]
    write_predictions(PREDICTIONS, {"step": 5}, tmp_path / "p.json")
    written = json.loads((tmp_path / "p.json").read_text())
    assert written["step"] == 5
    assert written["predictions"][1] == {
        "image": "é.png",
        "classes": [{"name": "snowdrop", "probability": 1.0}, {"name": "daisy", "probability": 0.0}],
    }


@pytest.mark.parametrize(("count", "drawn"), [(1, 1), (2, 2), (7, 7), (40, 30)])
def test_every_image_is_drawn_up_to_thirty(tmp_path: Path, count: int, drawn: int) -> None:
    images = np.zeros((count, 60, 60, 3), np.uint8)
    images[..., 0] = 255  # as nothing else in the picture is
    draw_predictions(PREDICTIONS[:1] * count, images, tmp_path / "p.png", "a network with $")
    picture = imread(tmp_path / "p.png")[:, :, :3]
    red = np.all(picture == (1, 0, 0), axis=2)
    starts = np.diff(red.astype(int), axis=1, prepend=0) == 1
    # Rows of pixels in which an image begins, over the height of one.
    assert round(starts.sum() / np.max(np.diff(np.flatnonzero(np.diff(red.any(1), prepend=0, append=0))))) == drawn


def test_a_grey_image_is_drawn_grey(tmp_path: Path) -> None:
    draw_predictions(PREDICTIONS[:1], np.full((1, 28, 28, 1), 100, np.uint8), tmp_path / "p.png", "a network")
    picture = np.rint(255 * imread(tmp_path / "p.png")[:, :, :3])
    assert np.all(picture == 100, axis=2).sum() > 5000
