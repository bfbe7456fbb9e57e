"""What a network takes images for: as a table and as a picture."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnn.monitoring.whole_file import write_whole
from cnn.shown_text import on_one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWN = 30
"""Images of a picture, at most."""

_ACROSS = 6
_BARS = 3
_LETTERS = 26


class Prediction(NamedTuple):
    """What a network takes one image for."""

    image: str
    """The file's name."""

    classes: list[tuple[str, float]]
    """The likeliest, with their probabilities from 0 to 1, the likeliest first."""


class PredictionTable:
    """Lines for a terminal, one for each image.

    Args:
        longest: characters of the longest name of all images.
    """

    def __init__(self, longest: int) -> None:
        self._widths = [longest]
        self._begun = False

    def lines(self, predictions: Sequence[Prediction]) -> str:
        """Lines of some images, which are aligned with those of the first call; before these there is a heading."""
        rows = [
            [on_one_line(each.image), *(f"{name} {_percent(part)}" for name, part in each.classes)]
            for each in predictions
        ]
        if not self._begun:
            places = range(2, len(predictions[0].classes) + 1)
            rows.insert(0, ["image", "likeliest", *(f"{place}." for place in places)])
            columns = [max(map(len, column)) for column in zip(*rows, strict=True)]
            self._widths = [max(self._widths[0], columns[0]), *columns[1:]]
            self._begun = True
        return "\n".join("  ".join(map(str.ljust, row, self._widths)).rstrip() for row in rows)


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def draw_predictions(
    drawn: Sequence[Prediction], images: Sequence[np.ndarray], path: Path, title: str, *, count: int
) -> None:
    """Draws images, uint8 (height, width, channels), with their classes into a PNG. Raises OSError.

    Args:
        drawn: the first DRAWN of all predictions.
        images: those of `drawn`.
        path: of the file.
        title: above them.
        count: of all predictions, which the title tells where not all are drawn.
    """
    from matplotlib.figure import Figure

    if len(drawn) < count:
        title += f": the first {len(drawn)} of {count:,} images"
    down = -(-len(drawn) // _ACROSS)
    across = -(-len(drawn) // down)
    bars = min(_BARS, len(drawn[0].classes))
    figure = Figure(figsize=(max(2.3 * across, 4.5), (2.35 + 0.22 * bars) * down + 0.5), dpi=130, layout="constrained")
    figure.suptitle(_plain(title), fontsize=12)
    panels = figure.subplots(2 * down, across, squeeze=False, height_ratios=[2.1, 0.22 * bars] * down)
    for axes in panels.ravel():
        axes.set_axis_off()
    for number, (prediction, image) in enumerate(zip(drawn, images, strict=True)):
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
    axes.set_title(_plain(on_one_line(short)), fontsize=8, color="#555555", pad=3)


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
