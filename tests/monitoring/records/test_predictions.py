from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from cnn.monitoring.records.predictions import MAX_DRAWN, Prediction, PredictionTable, draw_predictions

PREDICTIONS = [
    Prediction("a, b.png", [("daisy", 0.75), ("tulip", 0.25)]),
    Prediction("é.png", [("snowdrop", 1.0), ("daisy", 0.0)]),
]


def test_the_table() -> None:
    assert PredictionTable(0).lines(PREDICTIONS).splitlines() == [
        "image     likeliest         2.",
        "a, b.png  daisy 75.0 %      tulip 25.0 %",
        "é.png     snowdrop 100.0 %  daisy 0.0 %",
    ]


def test_lines_that_come_later_are_aligned_with_the_first_ones() -> None:
    table = PredictionTable(len("a, b.png"))
    lines = table.lines(PREDICTIONS[1:]).splitlines()
    assert [*lines, *table.lines(PREDICTIONS[:1]).splitlines()] == [
        "image     likeliest         2.",
        "é.png     snowdrop 100.0 %  daisy 0.0 %",
        "a, b.png  daisy 75.0 %      tulip 25.0 %",
    ]


def test_a_name_stays_on_its_line_and_does_nothing_to_a_terminal() -> None:
    table = PredictionTable(0).lines([Prediction("a\nb\x1b[2J.png", [("daisy", 1.0)])])
    assert table.splitlines()[1] == "a\\nb\\x1b[2J.png  daisy 100.0 %"


@pytest.mark.parametrize(("count", "drawn"), [(1, 1), (2, 2), (7, 7), (40, 30)])
def test_every_image_is_drawn_up_to_thirty(tmp_path: Path, count: int, drawn: int) -> None:
    images = np.zeros((count, 60, 60, 3), np.uint8)
    images[..., 0] = 255  # as nothing else in the picture is
    predictions = PREDICTIONS[:1] * count
    draw_predictions(predictions[:MAX_DRAWN], images[:MAX_DRAWN], tmp_path / "p.png", "a network with $", count=count)
    picture = imread(tmp_path / "p.png")[:, :, :3]
    red = np.all(picture == (1, 0, 0), axis=2)
    starts = np.diff(red.astype(int), axis=1, prepend=0) == 1
    # Rows of pixels in which an image begins, over the height of one.
    assert round(starts.sum() / np.max(np.diff(np.flatnonzero(np.diff(red.any(1), prepend=0, append=0))))) == drawn


def test_a_grey_image_is_drawn_grey(tmp_path: Path) -> None:
    draw_predictions(PREDICTIONS[:1], [np.full((28, 28, 1), 100, np.uint8)], tmp_path / "p.png", "a network", count=1)
    picture = np.rint(255 * imread(tmp_path / "p.png")[:, :, :3])
    assert np.all(picture == 100, axis=2).sum() > 5000
