"""The breakdown of a step's time, as a JSON file and as a figure."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn.errors import UserError
from cnn.monitoring.step_table import PARTS
from cnn.monitoring.summary import write_json
from cnn.monitoring.whole_file import write_whole

_COLOURS = ("#56B4E9", "#0072B2", "#009E73", "#D55E00")
"""Colours of the parts, from the palette of Okabe and Ito, safe for colour-blind readers."""


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
        write_whole(folder / "benchmark.png", _figure(model, rows))
    except OSError as error:
        raise UserError(f"--report {folder} cannot be written ({error.strerror}): choose another folder.") from error


def _figure(model: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns a PNG with a stacked bar of the step's parts for each number of workers, labelled with the speed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(4.5, 1.6 + 1.1 * len(rows)), 4.2), dpi=160, layout="constrained")
    axes = figure.subplots()
    heights = [0.0] * len(rows)
    for part, colour in zip(PARTS, _COLOURS, strict=True):
        values = [1e3 * row[f"{part}_seconds"] for row in rows]
        axes.bar(range(len(rows)), values, 0.6, bottom=heights, color=colour, label=part)
        heights = [height + value for height, value in zip(heights, values, strict=True)]
    for position, (row, height) in enumerate(zip(rows, heights, strict=True)):
        axes.annotate(
            f"{row['images_per_second']:,.4g} img/s",
            (position, height),
            textcoords="offset points",
            xytext=(0, 4),
            ha="center",
        )
    axes.set_xticks(range(len(rows)), [f"{row['workers']:,}" for row in rows])
    axes.set_ylim(0, 1.35 * max(heights))
    axes.set_title(f"{model}, {rows[0]['global_batch_size'] // rows[0]['workers']} samples per worker")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["right", "top"]].set_visible(False)
    axes.set_xlabel("Workers", fontsize=12)
    axes.set_ylabel("Milliseconds per step", fontsize=12)
    axes.legend(ncols=2, loc="upper center", frameon=False, fontsize=9)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
