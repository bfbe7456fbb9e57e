import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from cnn.monitoring.figures.figure import curves_figure, draw_curves
from cnn.monitoring.png import as_png
from tests.fresh_process import loads
from tests.monitoring.drawn import labels, line_labelled, overlaps

BLUE, VERMILION = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def records(part: str, steps: range) -> list[dict[str, Any]]:
    return [
        {"part": part, "step": n, "epoch": n / 10, "loss": 2.0 / (1 + n), "accuracy": 1 - 1 / (1 + n), "time": 0.0}
        for n in steps
    ]


def pixels(path: Path, colour: tuple[int, int, int]) -> int:
    image = np.rint(255 * imread(path)[:, :, :3])
    return int(np.all(image == colour, axis=2).sum())


@pytest.mark.parametrize("count", [1, 30, 300])
def test_the_train_curve_is_drawn_without_validation(tmp_path: Path, count: int) -> None:
    draw_curves(records("train", range(1, count + 1)), tmp_path / "curves.png", "a run", Path("runs/a"), None)
    assert pixels(tmp_path / "curves.png", BLUE) > 100
    assert pixels(tmp_path / "curves.png", VERMILION) == 0
    assert os.listdir(tmp_path) == ["curves.png"]


def test_validation_and_test_are_drawn_too(tmp_path: Path) -> None:
    train, validation = records("train", range(1, 40)), records("validation", range(10, 40, 10))
    draw_curves(train + validation, tmp_path / "without.png", "a run", Path("runs/a"), None)
    draw_curves(
        train + validation + records("test", range(39, 40)), tmp_path / "with.png", "a run", Path("runs/a"), None
    )
    assert pixels(tmp_path / "without.png", VERMILION) > 100
    black = (0, 0, 0)
    assert pixels(tmp_path / "with.png", black) > pixels(tmp_path / "without.png", black) + 100


def test_the_step_whose_weights_were_tested_is_marked() -> None:
    validation = records("validation", range(10, 60, 10))
    figure = curves_figure([*validation, *records("test", range(50, 51))], "a run", Path("runs/a"), best_step=30)
    accuracy, loss = figure.axes[:2]
    assert labels(accuracy) == [
        "validation 98.0 %",
        "best validation 96.8 %",
        "test 98.0 %, weights of step 30",
    ]
    assert labels(loss) == ["validation 0.0392", "validation 0.0645 at step 30", "test 0.0392"]
    for axes in (accuracy, loss):
        for label in labels(axes)[1:]:
            assert list(line_labelled(axes, label).get_xdata()) == [30]
        assert any(list(line.get_xdata()) == [30, 30] for line in axes.lines)
    assert labels(curves_figure(validation, "a run", Path("runs/a")).axes[0]) == ["validation 98.0 %"]


def test_the_learning_rate_has_a_panel() -> None:
    train = [{**each, "learning_rate": 0.1 / each["step"]} for each in records("train", range(1, 9))]
    axes = curves_figure(train, "a run", Path("runs/a")).axes[2]
    assert (axes.get_ylabel(), list(axes.lines[0].get_ydata())) == ("Learning\nrate", [0.1 / n for n in range(1, 9)])


@pytest.mark.parametrize(("length", "every"), [(1, 1), (200, 250)])
def test_the_title_names_the_folder_and_nothing_lies_on_anything_else(length: int, every: int) -> None:
    train, validation = (
        records("train", range(1, 400 * every, every)),
        records("validation", range(1, 400 * every, 20 * every)),
    )
    figure = curves_figure(
        [*train, *validation, *records("test", range(399 * every, 400 * every, every))],
        "net on data",
        Path("a" * length, "b"),
        best_step=380 * every + 1,
    )
    assert not overlaps(figure)
    inside = figure.bbox.padded(-5)
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
    title, folder = figure.get_suptitle().split("\n")
    assert title == "net on data"
    assert folder.endswith("a/b")


def test_nothing_and_null_values_and_another_rate_of_epochs_are_no_error(tmp_path: Path) -> None:
    draw_curves([], tmp_path / "nothing.png", "a run", Path("runs/a"), None)
    broken = records("train", range(20))
    broken[3]["loss"] = None
    broken[9]["epoch"] = 7.0
    broken[10]["loss"] = 0.0
    draw_curves(broken, tmp_path / "broken.png", "a run", Path("runs/$a_$花"), None)
    assert pixels(tmp_path / "broken.png", BLUE) > 100
    assert as_png(curves_figure(broken, "a run", Path("runs/a"), best_step=7))


def test_no_global_state_of_matplotlib_is_touched(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from cnn.monitoring.figures.figure import draw_curves\n"
        "path = pathlib.Path(sys.argv[1]); draw_curves([], path, 'a run', path, None)"
    )
    assert not loads("matplotlib.pyplot", code, tmp_path / "curves.png")
