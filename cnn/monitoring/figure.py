"""Figure of a run's curves: RUN/curves.png."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn.monitoring.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"train": "#0072B2", "validation": "#D55E00", "test": "black"}
"""By part; from the palette of Okabe and Ito, safe for colour-blind readers."""

_NOISY_POINTS = 100
"""A curve with more points is drawn faint, with its running mean on top."""

_MAX_EPOCH_RATIO = 1.02
"""Maximum ratio of the largest to the smallest number of epochs per step for which a figure has an axis of epochs: a
larger one means that the number of steps per epoch changed when the run was resumed."""


def draw_curves(records: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Writes the figure of `curves_png` into a file; OSError if it cannot be written."""
    write_whole(path, curves_png(records, title))


def curves_png(records: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Draws accuracy and loss over the steps, from the records of read_metrics, and returns the PNG.

    Skips parts without records, and null values.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), dpi=160, layout="constrained")
    figure.suptitle(title, fontsize=13)
    for axes, metric, label in zip(figure.subplots(1, 2), ("accuracy", "loss"), ("Accuracy (%)", "Loss"), strict=True):
        drawn = [values for part in _COLOURS for values in _draw_part(axes, records, part, metric)]
        axes.set_ylabel(label)
        if metric == "accuracy":
            axes.set_ylim(max(axes.get_ylim()[0], 0.0), min(axes.get_ylim()[1], 100.5))
        elif drawn and min(drawn) > 0 and max(drawn) > 10 * min(drawn):
            _set_log_scale(axes)
        _add_legend_and_epoch_axis(axes, records)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _draw_part(axes: "Axes", records: Sequence[Mapping[str, Any]], part: str, metric: str) -> list[float]:
    """Draws the curve of a part's metric, labelled with its last value; returns the smoothed values drawn."""
    points = [(r["step"], r[metric]) for r in records if r["part"] == part and r.get(metric) is not None]
    if not points:
        return []
    if part == "test":
        points = points[-1:]
    steps = [step for step, _ in points]
    values = [100.0 * y if metric == "accuracy" else float(y) for _, y in points]
    if len(values) > _NOISY_POINTS:
        axes.plot(steps, values, color=_COLOURS[part], alpha=0.2, linewidth=0.7)
        values = running_mean(values, width=len(values) // 50 * 2 + 1)
    label = f"{part} {values[-1]:.1f} %" if metric == "accuracy" else f"{part} {values[-1]:#.3g}"
    style: dict[str, Any] = {"linewidth": 1.8, "marker": "o" if len(values) <= 40 else None, "markersize": 3.5}
    if part == "test":
        style = {"linestyle": "none", "marker": "D", "markersize": 7, "markeredgecolor": "white", "zorder": 4}
    axes.plot(steps, values, color=_COLOURS[part], label=label, **style)
    return values


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Returns the mean over the `width` values around each value, over fewer at the ends."""
    import numpy as np

    window = np.ones(width)
    sums, counts = (np.convolve(row, window, "same") for row in (values, np.ones(len(values))))
    return [float(mean) for mean in sums / counts]


def _set_log_scale(axes: "Axes") -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def style_step_axis(axes: "Axes", last_step: int, ticks: int = 7) -> None:
    """Sets up an x axis of steps from 0 with at most about `ticks` tick marks, and a faint grid, without top and right
    spines."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("Step")
    axes.set_xlim(0, 1.03 * max(1, last_step))
    axes.xaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(lambda value, position: f"{value:,.0f}")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["right", "top"]].set_visible(False)


def _add_legend_and_epoch_axis(axes: "Axes", records: Sequence[Mapping[str, Any]]) -> None:
    """Styles the axis of steps, and adds a legend, and on top an axis of epochs if all epochs have as many steps."""
    style_step_axis(axes, max((r["step"] for r in records), default=0))
    if axes.lines:
        axes.legend(frameon=False)
    ratios = [r["epoch"] / r["step"] for r in records if r["step"] > 0 and r["epoch"] > 0]
    if ratios and max(ratios) < _MAX_EPOCH_RATIO * min(ratios):
        epochs_per_step = ratios[-1]
        top = axes.secondary_xaxis(
            "top", functions=(lambda step: step * epochs_per_step, lambda epoch: epoch / epochs_per_step)
        )
        top.set_xlabel("Epoch")
