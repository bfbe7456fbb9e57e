"""A run's goodput as text and as a figure."""

from pathlib import Path

from cnn.duration import duration
from cnn.monitoring.png import as_png
from cnn.monitoring.timing.goodput import ACTIVITIES, STOPPED, Goodput
from cnn.shown_text import counted
from cnn.whole_file import write_whole

_COLOURS = (
    "#999999",
    "#0072B2",
    "#CC79A7",
    "#009E73",
    "#56B4E9",
    "#F0E442",
    "#E69F00",
    "#444444",
    "#D55E00",
    "white",
)
"""By activity; from the palette of Okabe and Ito, safe for colour-blind readers."""

_MAX_STARTS = 20
"""Maximum number of starts in the figure, the latest ones."""


def goodput_table(whole: Goodput) -> str:
    """A sentence, and a line for each activity: its seconds, and its share of the time from the first start on."""
    again = f"; {counted(whole.lost_steps, 'step')} were trained again" if whole.lost_steps else ""
    lines = [
        f"{counted(len(whole.starts), 'start')}, {counted(whole.starts[-1].step, 'step')}, {duration(whole.wall)}: "
        f"{_percent(whole.share)} of the time became progress that was kept{again}."
    ]
    lines.append("")
    width = max(map(len, ACTIVITIES))
    for activity, seconds in whole.seconds.items():
        lines.append(
            f"{activity:<{width}} {seconds:>10,.1f} s {_percent(seconds / whole.wall):>8}  {ACTIVITIES[activity]}"
        )
    lines.append(f"{'total':<{width}} {whole.wall:>10,.1f} s {_percent(1):>8}")
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def draw_goodput(whole: Goodput, path: Path, title: str) -> None:
    """Draws a bar for each start, at its time, divided among the activities, whose order is not that of time.

    Raises OSError.
    """
    from matplotlib.figure import Figure

    first = max(0, len(whole.starts) - _MAX_STARTS)
    shown = list(zip(whole.starts, whole.divided, strict=True))[first:]
    unit, seconds_per_unit = _unit(whole.wall)
    figure = Figure(figsize=(11, 2.4 + 0.35 * len(shown)), dpi=160, layout="constrained")
    axes = figure.subplots()
    for row, (start, divided) in enumerate(shown):
        left = (start.begin - whole.starts[0].begin) / seconds_per_unit
        for (activity, seconds), colour in zip(divided.items(), _COLOURS, strict=True):
            if activity != STOPPED:
                length = seconds / seconds_per_unit
                axes.barh(row, length, 0.7, left, color=colour, label=activity if row == 0 else None)
                left += length
    labels = [
        f"start {first + row + 1}: {counted(start.world_size, 'worker')}, step {start.first_step:,} to {start.step:,}"
        for row, (start, _) in enumerate(shown)
    ]
    axes.set_yticks(range(len(shown)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(f"{unit} since the first start")
    axes.set_title(f"{title}: {_percent(whole.share)} of the time became progress")
    axes.spines[["right", "top"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    write_whole(path, as_png(figure))


def _unit(seconds: float) -> tuple[str, float]:
    for name, length in (("Hours", 3600.0), ("Minutes", 60.0)):
        if seconds >= 3 * length:
            return name, length
    return "Seconds", 1.0
