"""The breakdown of a step's time, as a JSON file and as a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn.errors import UserError
from cnn.monitoring.figures.figure import add_title
from cnn.monitoring.png import as_png
from cnn.monitoring.records.summary import write_json
from cnn.monitoring.timing.step_table import PARTS
from cnn.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#56B4E9", "#0072B2", "#009E73", "#D55E00")
"""Colours of the parts, from the palette of Okabe and Ito, safe for colour-blind readers."""

_BAR = 0.36
"""Width of a bar; the numbers of workers are 1 apart."""


def write_report(folder: Path, model: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes benchmark.json and benchmark.png; raises UserError when they cannot be written.

    Args:
        folder: folder of the files, created if missing.
        model: the network's name.
        rows: fields of cnn.measuring.measured.Measured, one row for each number of workers.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "benchmark.json", {"model": model, "measured": list(rows)})
        write_whole(folder / "benchmark.png", as_png(step_figure(model, rows, folder)))
    except OSError as error:
        raise UserError(f"--report {folder} cannot be written ({error.strerror}): choose another folder.") from error


def step_figure(model: str, rows: Sequence[Mapping[str, Any]], folder: Path) -> "Figure":
    """Draws two bars for each number of workers: the measured step, labelled with its duration and speed,
    and beside it the step's parts, stacked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(5.5, 1.6 + 1.5 * len(rows)), 4.8), dpi=160, layout="constrained")
    add_title(figure, f"{model}, {rows[0]['global_batch_size'] // rows[0]['workers']} samples per worker", folder)
    axes = figure.subplots()
    steps = [1e3 * row["step_seconds"] for row in rows]
    left = [position - _BAR / 2 for position in range(len(rows))]
    axes.bar(left, steps, _BAR, color="white", edgecolor="black", linewidth=1.2, label="measured step")
    heights = [0.0] * len(rows)
    for part, colour in zip(PARTS, _COLOURS, strict=True):
        values = [1e3 * row[f"{part}_seconds"] for row in rows]
        axes.bar([each + _BAR for each in left], values, 0.95 * _BAR, bottom=heights, color=colour, label=part)
        heights = [height + value for height, value in zip(heights, values, strict=True)]
    for position, (row, step, height) in enumerate(zip(rows, steps, heights, strict=True)):
        axes.annotate(
            f"{step:.3g} ms\n{row['images_per_second']:,.4g} img/s",
            (position, max(step, height)),
            textcoords="offset points",
            xytext=(0, 4),
            ha="center",
        )
    axes.set_xticks(range(len(rows)), [f"{row['workers']:,}" for row in rows])
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylim(0, 1.2 * max(*steps, *heights))
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["right", "top"]].set_visible(False)
    axes.set_xlabel("Workers", fontsize=12)
    axes.set_ylabel("Milliseconds per step", fontsize=12)
    figure.legend(ncols=5, loc="outside lower center", frameon=False, fontsize=10, handlelength=1.2, columnspacing=1)
    return figure
