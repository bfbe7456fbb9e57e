"""Each optimizer has its colour, whatever the runs came to."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from cnn.monitoring.comparison import RunResult
from cnn.monitoring.comparison_figure import draw_comparison

BLUE, ORANGE = (0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)


def run(optimizer: str, rate: float, model: str = "fcnn", outcome: str = "done", top: float = 0.5) -> RunResult:
    curve = [(step, top * step / 100) for step in range(10, 110, 10)]
    return RunResult(
        name="x", data="digits", model=model, optimizer=optimizer, learning_rate=rate, outcome=outcome,  # type: ignore[arg-type]
        curve=curve, steps=100,
    )  # fmt: skip


def pixels(path: Path, colour: tuple[int, int, int]) -> int:
    image = np.rint(255 * imread(path)[:, :, :3])
    return int(np.all(image == colour, axis=2).sum())


def draw(tmp_path: Path, *results: RunResult) -> tuple[int, int, tuple[int, ...]]:
    """Pixels of the first and of the second optimizer's colour, and the picture's shape."""
    path = tmp_path / "figure.png"
    draw_comparison(results, path)
    return pixels(path, BLUE), pixels(path, ORANGE), imread(path).shape


def test_a_colour_for_each_optimizer(tmp_path: Path) -> None:
    solid, none, shape = draw(tmp_path, run("sgd", 0.5))
    assert solid > 1000
    assert none == 0
    both, orange, same = draw(tmp_path, run("sgd", 0.5), run("adam", 0.001, top=0.4))
    assert min(both, orange) > 1000
    assert same == shape


def test_a_smaller_rate_is_dashed(tmp_path: Path) -> None:
    def longest(*results: RunResult) -> int:
        draw(tmp_path, *results)
        image = np.rint(255 * imread(tmp_path / "figure.png")[:, :, :3])
        return int(np.all(image == BLUE, axis=2).sum(axis=1).max())

    flat = RunResult(**{**vars(run("sgd", 0.1)), "curve": [(0, 0.3), (100, 0.3)]})
    solid = longest(flat)
    assert solid > 700
    assert longest(run("sgd", 0.5), flat) < 0.85 * solid


def test_a_panel_for_each_network(tmp_path: Path) -> None:
    _, _, one = draw(tmp_path, run("sgd", 0.5))
    _, _, three = draw(tmp_path, *(run("sgd", 0.5, model) for model in ("a", "b", "c")))
    _, _, four = draw(tmp_path, *(run("sgd", 0.5, model) for model in ("a", "b", "c", "d")))
    assert three[1] > 1.5 * one[1]
    assert four[0] > 1.5 * three[0]
    assert four[1] < three[1]


def test_a_run_that_diverged_is_marked(tmp_path: Path) -> None:
    done, _, _ = draw(tmp_path, run("sgd", 0.5))
    diverged, _, _ = draw(tmp_path, run("sgd", 0.5, outcome="diverged"))
    assert diverged > done + 200


@pytest.mark.parametrize("top", [0.0, 0.5, 0.99, 1.0])
def test_every_accuracy_can_be_shown(tmp_path: Path, top: float) -> None:
    assert draw(tmp_path, run("sgd", 0.5, top=top))[0] > 1000


def test_high_accuracies_are_spread(tmp_path: Path) -> None:
    def height(top: float) -> int:
        path = tmp_path / "figure.png"
        flat = [
            RunResult(**{**vars(run("adam", rate)), "curve": [(0, y), (100, y)]}) for rate, y in ((1, 0.98), (2, 0.99))
        ]
        draw_comparison([run("sgd", 0.5, top=top), *flat], path)
        image = np.rint(255 * imread(path)[:, :, :3])[:450]  # above the legend
        rows = np.flatnonzero(np.all(image == ORANGE, axis=2).any(axis=1))
        return int(rows.max() - rows.min())

    assert height(0.99) > 80


def test_nothing_is_cut_off_however_many_optimizers_there_are(tmp_path: Path) -> None:
    draw(tmp_path, *(run(f"optimizer-{number}", rate) for number in range(7) for rate in (1, 0.1)))
    image = imread(tmp_path / "figure.png")[:, :, :3]
    border = np.ones(image.shape[:2], bool)
    border[2:-2, 2:-2] = False
    assert (image[border] == 1).all()


def test_a_long_curve_is_faint_below_its_mean(tmp_path: Path) -> None:
    curve = [(step, 0.5 + step % 2 / 4) for step in range(100)]
    draw(tmp_path, RunResult(**{**vars(run("sgd", 1.0)), "curve": curve}))
    rows = np.flatnonzero(
        np.all(np.rint(255 * imread(tmp_path / "figure.png")[:450, :, :3]) == BLUE, axis=2).any(axis=1)
    )
    assert rows.max() - rows.min() < 150  # of 390 that the curve itself takes


def test_runs_without_any_result_are_no_error(tmp_path: Path) -> None:
    empty = RunResult(name="x", data="digits", model="a", optimizer="sgd", learning_rate=1, outcome="failed")
    assert draw(tmp_path, empty)[0] > 100
