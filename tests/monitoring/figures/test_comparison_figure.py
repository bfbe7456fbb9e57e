"""Each optimizer has its colour, whatever the runs came to."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from cnn.monitoring.figures.comparison_figure import comparison_figure, draw_comparison
from cnn.monitoring.records.comparison import RunResult
from tests.monitoring.drawn import labels, line_labelled, overlaps

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
    both, orange, wider = draw(tmp_path, run("sgd", 0.5), run("adam", 0.001, top=0.4))
    assert min(both, orange) > 1000
    assert wider[1] == shape[1]


def test_a_smaller_rate_is_dashed() -> None:
    axes = comparison_figure([run("sgd", 0.1), run("sgd", 0.5)], Path("runs/a")).axes[0]
    assert line_labelled(axes, "sgd 0.5   50.0 %").get_linestyle() == "-"
    assert line_labelled(axes, "sgd 0.1   50.0 %").get_linestyle() == "--"


def test_a_panel_for_each_network(tmp_path: Path) -> None:
    _, _, one = draw(tmp_path, run("sgd", 0.5))
    _, _, three = draw(tmp_path, *(run("sgd", 0.5, model) for model in ("a", "b", "c")))
    _, _, four = draw(tmp_path, *(run("sgd", 0.5, model) for model in ("a", "b", "c", "d")))
    assert three[1] > 1.5 * one[1]
    assert four[0] > 1.5 * three[0]
    assert four[1] < three[1]


def test_a_run_that_diverged_is_marked_where_it_ends() -> None:
    axes = comparison_figure([run("adam", 0.1), run("sgd", 0.5, outcome="diverged")], Path("runs/a")).axes[0]
    assert labels(axes) == ["adam 0.1   50.0 %", "sgd 0.5   50.0 %, diverged"]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [line.get_xydata().tolist() for line in crosses] == [[[100, 50]]]  # type: ignore[union-attr]


def test_of_many_curves_the_best_of_each_optimizer_are_told_apart_and_the_others_are_grey() -> None:
    rates = (0.3, 0.1, 0.03, 0.01, 0.003)
    results = [run("adam", rate, top=0.9 - rate) for rate in rates] + [run("sgd", rate, top=rate) for rate in rates]
    results.append(run("lars", 9.0, top=0.95, outcome="diverged"))
    axes = comparison_figure(results, Path("runs/a")).axes[0]
    assert labels(axes) == [
        "adam 0.003   89.7 %",
        "adam 0.01   89.0 %",
        "sgd 0.3   30.0 %",
        "lars 9   95.0 %, diverged",
        "7 other runs",
    ]
    grey = line_labelled(axes, "7 other runs").get_color()
    assert sum(line.get_color() == grey for line in axes.lines) == 7
    assert len({line_labelled(axes, label).get_color() for label in labels(axes)}) == 4


def test_the_others_that_diverged_are_counted() -> None:
    results = [run("sgd", rate, outcome="diverged" if rate > 7 else "done", top=1 / rate) for rate in range(1, 11)]
    axes = comparison_figure(results, Path("runs/a")).axes[0]
    assert labels(axes)[-1] == "6 other runs, 3 diverged"


@pytest.mark.parametrize(
    ("tops", "ticks"),
    [
        ((0.5, 0.4), None),
        ((0.99,), [0, 50, 70, 80, 90, 95, 97, 98, 99]),
        ((0.89, 0.4), [0, 20, 40, 50, 60, 70, 80, 85, 88, 90]),
        ((1.0, 0.5), [0, 20, 40, 50, 60, 70, 80, 85, 88, 90, 100]),
    ],
)
def test_an_axis_that_is_not_linear_says_so_and_has_ticks_where_curves_end(
    tops: tuple[float, ...], ticks: list[float] | None
) -> None:
    axes = comparison_figure([run("sgd", 0.5 * top, top=top) for top in tops], Path("runs/a")).axes[0]
    assert axes.get_ylabel() == ("Accuracy (%)" if ticks is None else "Accuracy (%), logarithmic in the error")
    if ticks is not None:
        assert sorted(axes.get_yticks()) == pytest.approx(ticks)


@pytest.mark.parametrize("top", [0.0, 0.5, 0.99, 1.0])
def test_every_accuracy_can_be_shown(tmp_path: Path, top: float) -> None:
    assert draw(tmp_path, run("sgd", 0.5, top=top))[0] > 1000


def test_high_accuracies_are_spread() -> None:
    def height(top: float) -> float:
        flat = [
            RunResult(**{**vars(run("adam", rate)), "curve": [(0, y), (100, y)]}) for rate, y in ((1, 0.98), (2, 0.99))
        ]
        figure = comparison_figure([run("sgd", 0.5, top=top), *flat], Path("runs/a"))
        axes = figure.axes[0]
        figure.draw_without_rendering()
        (_, low), (_, high) = axes.transData.transform([(0, 98), (0, 99)])
        return float(high - low)

    assert height(0.99) > 70


@pytest.mark.parametrize(("networks", "rates"), [(1, 1), (3, 5), (4, 5)])
def test_nothing_lies_on_anything_else(networks: int, rates: int) -> None:
    results = [
        run(optimizer, rate, f"net-{number}", top=rate / 6)
        for number in range(networks)
        for optimizer in ("sgd", "momentum", "adam")
        for rate in range(1, 1 + rates)
    ]
    figure = comparison_figure(results, Path("runs/a"))
    assert not overlaps(figure)
    assert figure.get_suptitle() == "Validation accuracy on digits\nruns/a"


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
