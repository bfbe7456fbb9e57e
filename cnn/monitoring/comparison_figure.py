"""Figure of the accuracy curves of several runs on one data set."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn.monitoring.comparison import RunResult
from cnn.monitoring.figure import running_mean, style_step_axis
from cnn.monitoring.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Styles = Mapping[tuple[str, float], Mapping[str, Any]]
"""Line style by optimizer and learning rate."""

# The palette of Okabe and Ito, safe for colour-blind readers, without its yellow, which is too faint on white.
_COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINE_STYLES: tuple[Any, ...] = ("-", (0, (3.5, 1.4)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
"""Line styles from the largest learning rate of an optimizer to the smallest."""

_CROSS: dict[str, Any] = {"marker": "x", "markersize": 9, "markeredgewidth": 2.5, "linestyle": "none"}
"""Marks the last point of a run that diverged or failed."""

_PANELS_PER_ROW = 3
_LEGEND_INCHES = 2.2
_NOISY_POINTS = 40  # a curve with more points is drawn faint, with its running mean on top
_MAX_MARKERS = 15
_TICKS = (0, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9)
"""Ticks, as accuracies in percent, of an axis that is logarithmic in the error."""


def draw_comparison(results: Sequence[RunResult], path: Path) -> None:
    """Draws a PNG with a panel per network, which has a line per optimizer (colour) and learning rate (style).

    If the lowest error is less than a fifth of the highest, the accuracy axis is logarithmic in the error.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(result.network for result in results))
    rows = -(-len(networks) // _PANELS_PER_ROW)
    columns = -(-len(networks) // rows)
    figure = Figure(figsize=(max(6.5, 3.8 * columns), 3.4 * rows + 1.4), dpi=160, layout="constrained")
    figure.suptitle(f"Validation accuracy on {results[0].data}", fontsize=14)
    styles = _styles(results)
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    _set_scale(panels[0], [100 * accuracy for result in results for _, accuracy in result.curve])
    for axes, network in zip(panels, networks, strict=False):
        _draw_panel(axes, [result for result in results if result.network == network], styles)
    for axes in panels[::columns]:
        axes.set_ylabel("Accuracy (%)", fontsize=12)
    for axes in panels[len(networks) :]:
        axes.set_visible(False)
    if any(result.curve for result in results):
        panels[0].set_ylim(max(panels[0].get_ylim()[0], -2), min(panels[0].get_ylim()[1], 102))
    else:
        panels[0].set_ylim(0, 100)
    _add_legend(figure, styles)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    write_whole(path, png.getvalue())


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
    smallest = min(error for error in errors if error > 0) / 2  # an accuracy of 100 % is drawn as this error
    axes.set_yscale(
        "function",
        functions=(
            lambda accuracy: -np.log(np.maximum(100 - np.asarray(accuracy), smallest)),
            lambda scaled: 100 - np.exp(-np.asarray(scaled)),
        ),
    )
    axes.set_yticks([tick for tick in _TICKS if tick < max(accuracies) or tick == 0])
    axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")


def _draw_panel(axes: "Axes", results: Sequence[RunResult], styles: Styles) -> None:
    style_step_axis(axes, max(result.steps for result in results), ticks=5)
    axes.xaxis.label.set_fontsize(12)
    axes.tick_params(labelsize=11)
    axes.set_title(results[0].network, fontsize=13)
    spacing = 1 + max(len(result.curve) for result in results) // _MAX_MARKERS
    for result in results:
        style = styles[result.optimizer, result.learning_rate]
        steps, accuracies = [step for step, _ in result.curve], [100 * accuracy for _, accuracy in result.curve]
        if len(accuracies) > _NOISY_POINTS:
            axes.plot(steps, accuracies, color=style["color"], alpha=0.2, linewidth=0.7)
            accuracies = running_mean(accuracies, width=len(accuracies) // 20 * 2 + 1)
        axes.plot(steps, accuracies, markevery=spacing, **style)
        if result.outcome != "done":
            label = f"{result.optimizer} {result.learning_rate:g} {result.outcome}"
            axes.plot(steps[-1:], accuracies[-1:], color=style["color"], label=label, **_CROSS)
    if any(result.outcome != "done" for result in results):
        axes.legend(fontsize=10, handlelength=1)


def _add_legend(figure: "Figure", styles: Styles) -> None:
    """Adds a legend below the panels, with the learning rates of each optimizer in one column."""
    from matplotlib.lines import Line2D

    groups: dict[str, list[Line2D]] = {}
    for (optimizer, rate), style in styles.items():
        groups.setdefault(optimizer, []).append(Line2D([], [], label=f"{optimizer} {rate:g}", **style))
    max_columns = min(len(groups), int(figure.get_figwidth() / _LEGEND_INCHES))
    groups_per_column = -(-len(groups) // max_columns)
    columns = -(-len(groups) // groups_per_column)
    max_rates = max(len(group) for group in groups.values())
    handles = [handle for group in groups.values() for handle in (group + [_blank()] * max_rates)[:max_rates]]
    handles += [_blank()] * (columns * groups_per_column * max_rates - len(handles))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=11,
        handlelength=3,
        columnspacing=1.4,
    )


def _blank() -> "Line2D":
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", label=" ")
