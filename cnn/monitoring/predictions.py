"""What a network takes images for: as a table, as files for programs, and as a picture."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnn.monitoring.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DRAWN = 30
_ACROSS = 6
_BARS = 3
_LETTERS = 26


class Prediction(NamedTuple):
    """What a network takes one image for."""

    image: str
    """The file's name."""

    classes: list[tuple[str, float]]
    """The likeliest, with their probabilities from 0 to 1, the likeliest first."""


def prediction_table(predictions: Sequence[Prediction]) -> str:
    """A line for each image."""
    places = range(1, len(predictions[0].classes) + 1)
    rows = [["image", "likeliest", *(f"{place}." for place in places[1:])]]
    rows += [[each.image, *(f"{name} {_percent(part)}" for name, part in each.classes)] for each in predictions]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def write_csv(predictions: Sequence[Prediction], path: Path) -> None:
    """Writes a line for each image: its name, the likeliest class, its probability, the second, ... Raises OSError."""
    text = io.StringIO()
    writer = csv.writer(text)
    places = range(1, len(predictions[0].classes) + 1)
    writer.writerow(["image", *(f"{what}{place}" for place in places for what in ("class", "probability"))])
    for each in predictions:
        writer.writerow([each.image, *(value for pair in each.classes for value in pair)])
    write_whole(path, text.getvalue().encode())


def write_predictions(predictions: Sequence[Prediction], described: dict[str, Any], path: Path) -> None:
    """Writes JSON: what `described` says of the network, and the predictions. Raises OSError."""
    values = [
        {"image": image, "classes": [{"name": name, "probability": part} for name, part in classes]}
        for image, classes in predictions
    ]
    write_whole(path, json.dumps({**described, "predictions": values}, indent=2).encode() + b"\n")


def draw_predictions(predictions: Sequence[Prediction], images: np.ndarray, path: Path, title: str) -> None:
    """Draws the first images, uint8 (images, height, width, channels), with their classes into a PNG; OSError."""
    from matplotlib.figure import Figure

    drawn = predictions[:_DRAWN]
    if len(drawn) < len(predictions):
        title += f": the first {len(drawn)} of {len(predictions):,} images"
    down = -(-len(drawn) // _ACROSS)
    across = -(-len(drawn) // down)
    bars = min(_BARS, len(drawn[0].classes))
    figure = Figure(figsize=(max(2.3 * across, 4.5), (2.35 + 0.22 * bars) * down + 0.5), dpi=130, layout="constrained")
    figure.suptitle(_plain(title), fontsize=12)
    panels = figure.subplots(2 * down, across, squeeze=False, height_ratios=[2.1, 0.22 * bars] * down)
    for axes in panels.ravel():
        axes.set_axis_off()
    for number, (prediction, image) in enumerate(zip(drawn, images, strict=False)):
        row, column = divmod(number, across)
        _draw_image(panels[2 * row, column], prediction.image, image)
        _draw_bars(panels[2 * row + 1, column], prediction.classes[:bars])
    png = io.BytesIO()
    figure.savefig(png, format="png")
    write_whole(path, png.getvalue())


def _draw_image(axes: "Axes", name: str, image: np.ndarray) -> None:
    smooth = "nearest" if image.shape[0] < 48 else "bicubic"
    pixels = image[..., 0] if image.shape[2] == 1 else image
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation=smooth)
    short = name if len(name) <= _LETTERS else "…" + name[1 - _LETTERS :]
    axes.set_title(_plain(short), fontsize=8, color="#555555", pad=3)


def _draw_bars(axes: "Axes", classes: Sequence[tuple[str, float]]) -> None:
    parts = [part for _, part in classes]
    places = range(len(parts))
    axes.barh(places, [1] * len(parts), height=0.86, color="#f0f0f0")
    axes.barh(places, parts, height=0.86, color=["#9ccbe8", *["#d3e6f3"] * (len(parts) - 1)])
    for place, (name, part) in enumerate(classes):
        weight = "bold" if place == 0 else "normal"
        axes.text(0.02, place, _plain(name), va="center", fontsize=8, weight=weight)
        axes.text(0.98, place, _percent(part), va="center", ha="right", fontsize=8, weight=weight)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(parts) - 0.5, -0.5)


def _plain(text: str) -> str:
    return text.replace("$", r"\$")
