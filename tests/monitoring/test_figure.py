import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from cnn.monitoring.figure import draw_curves

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
    draw_curves(records("train", range(1, count + 1)), tmp_path / "curves.png", "a run")
    assert pixels(tmp_path / "curves.png", BLUE) > 100
    assert pixels(tmp_path / "curves.png", VERMILION) == 0
    assert os.listdir(tmp_path) == ["curves.png"]


def test_validation_and_test_are_drawn_too(tmp_path: Path) -> None:
    train, validation = records("train", range(1, 40)), records("validation", range(10, 40, 10))
    draw_curves(train + validation, tmp_path / "without.png", "a run")
    draw_curves(train + validation + records("test", range(39, 40)), tmp_path / "with.png", "a run")
    assert pixels(tmp_path / "without.png", VERMILION) > 100
    black = (0, 0, 0)
    assert pixels(tmp_path / "with.png", black) > pixels(tmp_path / "without.png", black) + 100


def test_nothing_and_null_values_and_another_rate_of_epochs_are_no_error(tmp_path: Path) -> None:
    draw_curves([], tmp_path / "nothing.png", "a run")
    broken = records("train", range(20))
    broken[3]["loss"] = None
    broken[9]["epoch"] = 7.0
    broken[10]["loss"] = 0.0
    draw_curves(broken, tmp_path / "broken.png", "a run with $ and _ in its name")
    assert pixels(tmp_path / "broken.png", BLUE) > 100


def test_no_global_state_of_matplotlib_is_touched(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from cnn.monitoring.figure import draw_curves\n"
        "draw_curves([], pathlib.Path(sys.argv[1]), 'a run'); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "curves.png"], cwd=root, check=False).returncode == 0
