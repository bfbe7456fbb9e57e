"""Figure of a run's curves: RUN/curves.png."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn.monitoring.png import as_png
from cnn.shown_text import on_one_line
from cnn.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"train": "#0072B2", "validation": "#D55E00", "test": "black"}
"""By part; from the palette of Okabe and Ito, safe for colour-blind readers."""

_RATE_COLOUR = "#555555"

_RING: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 11,
    "markeredgewidth": 2,
    "markerfacecolor": "none",
    "clip_on": False,
    "zorder": 4,
}
"""Marks the best validation result."""

_DIAMOND: dict[str, Any] = {
    "linestyle": "none",
    "marker": "D",
    "markersize": 6.5,
    "markeredgecolor": "white",
    "clip_on": False,
    "zorder": 5,
}
"""Marks the test result."""

_NOISY_POINTS = 100
"""A curve with more points is drawn faint, with its running mean on top."""

_MAX_EPOCH_RATIO = 1.02
"""Maximum ratio of the largest to the smallest number of epochs per step for which a figure has an axis of epochs: a
larger one means that the number of steps per epoch changed when the run was resumed."""

_CHARACTERS_PER_INCH = 8
"""Room of a figure's title."""

_PANELS = {
    "accuracy": (0.06, 0.1, 0.415, 0.595),
    "loss": (0.58, 0.25, 0.4, 0.445),
    "rate": (0.58, 0.1, 0.4, 0.12),
}
"""Left edge, bottom, width and height of each panel, as fractions of the figure's. They are fixed, with room for any
labels, because fitting them to the labels would take longer than drawing."""

_LEGEND_ABOVE = 0.08
"""Distance of a legend from the panel below, as a fraction of the figure's height: room for the axis of epochs."""

Points = Sequence[tuple[int, float]]
"""Step and value of each point of a curve."""


def draw_curves(
    records: Sequence[Mapping[str, Any]], path: Path, title: str, folder: Path, best_step: int | None
) -> None:
    """Writes the figure of `curves_figure` into a file; OSError if it cannot be written."""
    write_whole(path, as_png(curves_figure(records, title, folder, best_step)))


def curves_figure(
    records: Sequence[Mapping[str, Any]], title: str, folder: Path, best_step: int | None = None
) -> "Figure":
    """Draws accuracy, loss and learning rate over the steps.

    Args:
        records: the records of read_metrics. Parts without records, and null values, are skipped.
        title: the network and the data.
        folder: the run's folder.
        best_step: the step whose weights were tested, which is marked; None while it is not known.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), dpi=160)
    add_title(figure, title, folder)
    panels = {name: figure.add_axes(place) for name, place in _PANELS.items()}
    last_step = max((record["step"] for record in records), default=0)
    for metric in ("accuracy", "loss"):
        _draw_metric(panels[metric], records, metric, best_step)
        _add_legend(panels[metric])
    _draw_rate(panels["rate"], records)
    for name in ("accuracy", "loss", "rate"):
        style_step_axis(panels[name], last_step)
    panels["loss"].set_xlabel("")
    panels["loss"].tick_params(labelbottom=False)
    for name in ("accuracy", "loss"):
        _add_epoch_axis(panels[name], records)
    return figure


def add_title(figure: "Figure", title: str, folder: Path) -> None:
    """Writes a title above a figure, and below it the folder that the figure is about."""
    shown, room = on_one_line(str(folder)), int(_CHARACTERS_PER_INCH * figure.get_figwidth())
    shown = shown if len(shown) <= room else f"…{shown[1 - room :]}"
    figure.suptitle(f"{on_one_line(title)}\n{shown}", fontsize=13, parse_math=False, linespacing=1.3)


def _points(records: Sequence[Mapping[str, Any]], part: str, name: str) -> Points:
    scale = 100.0 if name == "accuracy" else 1.0
    return [(r["step"], scale * r[name]) for r in records if r["part"] == part and r.get(name) is not None]


def _draw_metric(axes: "Axes", records: Sequence[Mapping[str, Any]], metric: str, best_step: int | None) -> None:
    """Draws a metric of the training and validation parts, and the best and the test result as marks."""
    train, validation, test = (_points(records, part, metric) for part in _COLOURS)
    drawn = [*_draw_curve(axes, train, "train", metric), *_draw_curve(axes, validation, "validation", metric)]
    if best_step is not None:
        axes.axvline(best_step, color="black", linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    tested = "" if best_step is None else f", weights of step {best_step:,}"
    for step, value in validation:
        if step == best_step:
            shown = _shown(value, metric)
            label = f"best validation {shown}" if metric == "accuracy" else f"validation {shown} at step {step:,}"
            axes.plot(step, value, color=_COLOURS["validation"], label=label, **_RING)
    if test:
        step, value = test[-1]
        label = f"test {_shown(value, metric)}{tested if metric == 'accuracy' else ''}"
        axes.plot(step if best_step is None else best_step, value, color=_COLOURS["test"], label=label, **_DIAMOND)
    axes.set_ylabel("Accuracy (%)" if metric == "accuracy" else "Loss")
    if metric == "accuracy":
        axes.set_ylim(max(axes.get_ylim()[0], 0.0), min(axes.get_ylim()[1], 100.5))
    elif drawn and min(drawn) > 0 and max(drawn) > 10 * min(drawn):
        _set_log_scale(axes)


def _draw_curve(axes: "Axes", points: Points, part: str, metric: str) -> list[float]:
    """Draws a curve, labelled with its last value; returns the smoothed values drawn."""
    if not points:
        return []
    steps, values = map(list, zip(*points, strict=True))
    if len(values) > _NOISY_POINTS:
        axes.plot(steps, values, color=_COLOURS[part], alpha=0.2, linewidth=0.7)
        values = running_mean(values, width=len(values) // 50 * 2 + 1)
    marker = "o" if len(values) <= 40 else None
    axes.plot(
        steps,
        values,
        color=_COLOURS[part],
        linewidth=1.8,
        marker=marker,
        markersize=3.5,
        label=f"{part} {_shown(values[-1], metric)}",
    )
    return values


def _shown(value: float, metric: str) -> str:
    return f"{value:.1f} %" if metric == "accuracy" else f"{value:#.3g}"


def _add_legend(axes: "Axes") -> None:
    """Adds a legend above the panel, where it hides no curve."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        above = (0.5, 1 + _LEGEND_ABOVE / axes.get_position().height)
        axes.legend(handles, labels, loc="lower center", bbox_to_anchor=above, ncols=2, frameon=False, handlelength=1.5)


def _draw_rate(axes: "Axes", records: Sequence[Mapping[str, Any]]) -> None:
    """Draws the learning rate; the axis names the largest."""
    points = _points(records, "train", "learning_rate")
    if points:
        steps, rates = zip(*points, strict=True)
        axes.plot(steps, rates, color=_RATE_COLOUR, linewidth=1.5, marker="o" if len(points) == 1 else None)
        axes.set_yticks([0, max(rates)], ["0", f"{max(rates):.3g}"])
    axes.set_ylabel("Learning\nrate")
    axes.set_ylim(bottom=0)


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


def _add_epoch_axis(axes: "Axes", records: Sequence[Mapping[str, Any]]) -> None:
    """Adds an axis of epochs on top if all epochs have as many steps."""
    ratios = [r["epoch"] / r["step"] for r in records if r["step"] > 0 and r["epoch"] > 0]
    if ratios and max(ratios) < _MAX_EPOCH_RATIO * min(ratios):
        epochs_per_step = ratios[-1]
        top = axes.secondary_xaxis(
            "top", functions=(lambda step: step * epochs_per_step, lambda epoch: epoch / epochs_per_step)
        )
        top.set_xlabel("Epoch")
