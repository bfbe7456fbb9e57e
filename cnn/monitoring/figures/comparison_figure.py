"""Figure of the accuracy curves of several runs on one data set."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn.monitoring.figures.figure import add_title, running_mean, style_step_axis
from cnn.monitoring.png import as_png
from cnn.monitoring.records.comparison import RunResult
from cnn.shown_text import counted
from cnn.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Styles = Mapping[tuple[str, float], Mapping[str, Any]]
"""Line style by optimizer and learning rate."""

# The palette of Okabe and Ito, safe for colour-blind readers, without its yellow, which is too faint on white.
_COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINE_STYLES: tuple[Any, ...] = ("-", (0, (3.5, 1.4)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
"""Line styles from the largest learning rate of an optimizer to the smallest."""

_UNCLIPPED: dict[str, Any] = {"clip_on": False, "in_layout": False}
"""For curves and marks, which may touch an edge of their panel."""

_CROSS: dict[str, Any] = {"marker": "x", "markersize": 9, "markeredgewidth": 2.5, "linestyle": "none", **_UNCLIPPED}
"""Marks the last point of a run that diverged or failed."""

_GREY = "#bbbbbb"

_READABLE = 7
"""Maximum number of curves of a panel that are all told apart; of more, some are grey."""

_FEW = 4
"""Number of curves that are told apart then, unless there are more optimizers."""

_PANELS_PER_ROW = 3
_PANEL_INCHES = 3.9
_AXIS_INCHES = 0.6  # height of the axis of steps with its label
_LEGEND_LINE_INCHES = 0.23
_NOISY_POINTS = 40  # a curve with more points is drawn faint, with its running mean on top
_MAX_MARKERS = 15

_TICK_DIGITS = (1.0, 5.0, 2.0, 3.0, 8.0, 6.0, 4.0, 1.5, 1.2)
"""First digits of the errors that an axis logarithmic in the error marks, in the order in which they get room."""

_AXIS_MARGIN = 0.05
"""Matplotlib's room above and below the curves, as a part of the axis."""

_MIN_TICK_DISTANCE = 0.07
"""Minimum distance of two ticks, as a part of the axis."""


def draw_comparison(results: Sequence[RunResult], path: Path) -> None:
    """Writes the figure of `comparison_figure` as PNG; OSError if it cannot be written."""
    write_whole(path, as_png(comparison_figure(results, path.parent)))


def comparison_figure(results: Sequence[RunResult], folder: Path) -> "Figure":
    """Draws a panel for each network, and below it a legend of its runs, the best first.

    An optimizer has a colour, and each of its learning rates a line style. Of more curves than can be told apart, the
    best of each optimizer and the next best are drawn so, and the others in grey. If the lowest error is less than a
    fifth of the highest, the accuracy axis is logarithmic in the error.

    Args:
        results: the runs, all on the same data.
        folder: the folder of the sweep.
    """
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(result.network for result in results))
    panels_by_network = {each: [result for result in results if result.network == each] for each in networks}
    rows = -(-len(networks) // _PANELS_PER_ROW)
    columns = -(-len(networks) // rows)
    lines = 1 + max(min(len(_readable(panel)) + 1, len(panel)) for panel in panels_by_network.values())
    row_inches = _PANEL_INCHES + _LEGEND_LINE_INCHES * lines
    figure = Figure(figsize=(max(6.5, 4 * columns), rows * row_inches + 0.8), dpi=160, layout="constrained")
    add_title(figure, f"Validation accuracy on {results[0].data}", folder)
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    _set_scale(panels[0], [100 * accuracy for result in results for _, accuracy in result.curve])
    styles = _styles(results)
    for axes, network in zip(panels, networks, strict=False):
        _draw_panel(axes, panels_by_network[network], styles)
        _add_legend(axes)
    for axes in panels[len(networks) :]:
        axes.set_visible(False)
    _set_limits(panels[0], any(result.curve for result in results))
    for axes in panels[::columns]:
        axes.set_ylabel(_label(axes), fontsize=11)
    return figure


def _styles(results: Sequence[RunResult]) -> Styles:
    optimizers = list(dict.fromkeys(result.optimizer for result in results))
    styles = {}
    for index, optimizer in enumerate(optimizers):
        rates = sorted({result.learning_rate for result in results if result.optimizer == optimizer}, reverse=True)
        for position, rate in enumerate(rates):
            styles[optimizer, rate] = {
                "color": _COLOURS[index % len(_COLOURS)],
                "marker": _MARKERS[index % len(_MARKERS)],
                "linestyle": _LINE_STYLES[position % len(_LINE_STYLES)],
                "markerfacecolor": "white" if position % 2 else None,
                "markersize": 4.5,
                "linewidth": 1.7,
            }
    return styles


def _set_scale(axes: "Axes", accuracies: Sequence[float]) -> None:
    import numpy as np

    errors = [100 - accuracy for accuracy in accuracies]
    if not errors or max(errors) <= 5 * min(errors):
        return
    least = min(error for error in errors if error > 0)
    smallest = least / 2  # an accuracy of 100 % is drawn as this error
    axes.set_yscale(
        "function",
        functions=(
            lambda accuracy: -np.log(np.maximum(100 - np.asarray(accuracy), smallest)),
            lambda scaled: 100 - np.exp(-np.asarray(scaled)),
        ),
    )
    axes.set_yticks([100 - error for error in [*_tick_errors(least, max(errors)), *([] if min(errors) else [0])]])
    axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")


def _tick_errors(smallest: float, largest: float) -> list[float]:
    """The errors in percent that a logarithmic axis marks: the one next to the smallest, where the best curve ends, and
    as many others as have room, round ones first."""
    errors = [digit * 10.0**power for digit in _TICK_DIGITS for power in (-2, -1, 0, 1, 2)]
    height = math.log(largest / smallest)
    margin = math.exp(_AXIS_MARGIN * height)
    errors = [error for error in errors if smallest / margin <= error <= largest * margin and error <= 100]
    distance = _MIN_TICK_DISTANCE * height
    ticks: list[float] = []
    for error in [min(errors, key=lambda error: abs(math.log(error / smallest)), default=largest), *errors]:
        if all(abs(math.log(error / tick)) >= distance for tick in ticks):
            ticks.append(error)
    return ticks


def _label(axes: "Axes") -> str:
    return "Accuracy (%)" if axes.get_yscale() == "linear" else "Accuracy (%), logarithmic in the error"


def _set_limits(axes: "Axes", has_curves: bool) -> None:
    low, high = axes.get_ylim()
    axes.set_ylim(*((max(low, -2), min(high, 102)) if has_curves else (0, 100)))


def _draw_panel(axes: "Axes", results: Sequence[RunResult], styles: Styles) -> None:
    """Draws the runs of one network, so that its legend names the readable ones, the best first."""
    style_step_axis(axes, max(result.steps for result in results), ticks=5)
    axes.xaxis.label.set_fontsize(12)
    axes.tick_params(labelsize=11)
    axes.set_title(results[0].network, fontsize=13)
    readable = _readable(results)
    others = [result for result in results if result not in readable]
    spacing = 1 + max(len(result.curve) for result in results) // _MAX_MARKERS
    for result in readable:
        _draw_run(axes, result, styles[result.optimizer, result.learning_rate], spacing)
    for index, result in enumerate(others):
        steps, accuracies = _curve(result)
        axes.plot(
            steps, accuracies, color=_GREY, linewidth=0.8, zorder=1, label=_others(others) if index == 0 else None
        )
        if result.outcome != "done":
            axes.plot(steps[-1:], accuracies[-1:], color=_GREY, zorder=1, **_CROSS)


def _readable(results: Sequence[RunResult]) -> list[RunResult]:
    """The runs of a panel to draw so that they can be told apart, the best first."""
    ranked = sorted(results, key=lambda result: (result.outcome != "done", -(result.best_validation_accuracy or 0.0)))
    if len(results) <= _READABLE:
        return ranked
    best = {result.optimizer: result for result in reversed(ranked)}.values()
    more = [result for result in ranked if result not in best][: max(0, _FEW - len(best))]
    return sorted([*best, *more], key=ranked.index)


def _others(others: Sequence[RunResult]) -> str:
    """A legend's text for the runs in grey."""
    ends = (f", {number} {end}" for end in ("diverged", "failed") if (number := _count(others, end)))
    return f"{counted(len(others), 'other run')}{''.join(ends)}"


def _count(results: Sequence[RunResult], outcome: str) -> int:
    return sum(result.outcome == outcome for result in results)


def _curve(result: RunResult) -> tuple[list[int], list[float]]:
    return [step for step, _ in result.curve], [100 * accuracy for _, accuracy in result.curve]


def _draw_run(axes: "Axes", result: RunResult, style: Mapping[str, Any], spacing: int) -> None:
    steps, accuracies = _curve(result)
    if len(accuracies) > _NOISY_POINTS:
        axes.plot(steps, accuracies, color=style["color"], alpha=0.2, linewidth=0.7)
        accuracies = running_mean(accuracies, width=len(accuracies) // 20 * 2 + 1)
    best = result.best_validation_accuracy
    shown = "" if best is None else f"   {100 * best:.1f} %"
    end = "" if result.outcome == "done" else f", {result.outcome}"
    label = f"{result.optimizer} {result.learning_rate:g}{shown}{end}"
    axes.plot(steps, accuracies, markevery=spacing, label=label, **_UNCLIPPED, **style)
    if result.outcome != "done":
        axes.plot(steps[-1:], accuracies[-1:], color=style["color"], **_CROSS)


def _add_legend(axes: "Axes") -> None:
    """Adds the legend of a panel below it, where it hides no curve."""
    from matplotlib.transforms import ScaledTranslation

    axes.legend(
        title="Best validation accuracy",
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=axes.transAxes + ScaledTranslation(0, -_AXIS_INCHES, axes.figure.dpi_scale_trans),
        fontsize=11,
        title_fontsize=11,
        frameon=False,
        handlelength=3,
        borderpad=0,
        borderaxespad=0,
    )
