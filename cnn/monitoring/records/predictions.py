"""Predictions as a table and as a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnn.monitoring.png import as_png
from cnn.shown_text import on_one_line
from cnn.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_DRAWN = 30
"""Maximum number of images in a figure."""

_MAX_COLUMNS = 6
_MAX_BARS = 3
_MAX_NAME = 26


class Prediction(NamedTuple):
    """The predicted classes of one image."""

    image: str
    """The file's name."""

    classes: list[tuple[str, float]]
    """Names and probabilities (0 to 1) of the likeliest classes, the likeliest first."""


class PredictionTable:
    """Lines for a terminal, one for each image.

    Args:
        name_width: characters of the longest image name.
    """

    def __init__(self, name_width: int) -> None:
        self._widths = [name_width]
        self._has_heading = False

    def lines(self, predictions: Sequence[Prediction]) -> str:
        """Formats some predictions; the first call adds a heading and sets the column widths of all later calls."""
        rows = [
            [on_one_line(image), *(f"{name} {_percent(probability)}" for name, probability in classes)]
            for image, classes in predictions
        ]
        if not self._has_heading:
            ranks = range(2, len(predictions[0].classes) + 1)
            rows.insert(0, ["image", "likeliest", *(f"{rank}." for rank in ranks)])
            columns = [max(map(len, column)) for column in zip(*rows, strict=True)]
            self._widths = [max(self._widths[0], columns[0]), *columns[1:]]
            self._has_heading = True
        return "\n".join("  ".join(map(str.ljust, row, self._widths)).rstrip() for row in rows)


def _percent(probability: float) -> str:
    return f"{100 * probability:.1f} %"


def draw_predictions(
    drawn: Sequence[Prediction], images: Sequence[np.ndarray], path: Path, title: str, *, count: int
) -> None:
    """Draws images, uint8 (height, width, channels), with their predicted classes into a PNG. Raises OSError.

    Args:
        drawn: the first MAX_DRAWN predictions.
        images: the images of `drawn`.
        path: path of the PNG.
        title: title of the figure.
        count: total number of predictions, added to the title if not all are drawn.
    """
    from matplotlib.figure import Figure

    if len(drawn) < count:
        title += f": the first {len(drawn)} of {count:,} images"
    rows = -(-len(drawn) // _MAX_COLUMNS)
    columns = -(-len(drawn) // rows)
    bars = min(_MAX_BARS, len(drawn[0].classes))
    figure = Figure(figsize=(max(2.3 * columns, 4.5), (2.35 + 0.22 * bars) * rows + 0.5), dpi=130, layout="constrained")
    figure.suptitle(_escape_dollars(title), fontsize=12)
    panels = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[2.1, 0.22 * bars] * rows)
    for axes in panels.ravel():
        axes.set_axis_off()
    for number, (prediction, image) in enumerate(zip(drawn, images, strict=True)):
        row, column = divmod(number, columns)
        _draw_image(panels[2 * row, column], prediction.image, image)
        _draw_bars(panels[2 * row + 1, column], prediction.classes[:bars])
    write_whole(path, as_png(figure))


def _draw_image(axes: "Axes", name: str, image: np.ndarray) -> None:
    interpolation = "nearest" if image.shape[0] < 48 else "bicubic"
    pixels = image[..., 0] if image.shape[2] == 1 else image
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation=interpolation)
    shortened = name if len(name) <= _MAX_NAME else "…" + name[1 - _MAX_NAME :]
    axes.set_title(_escape_dollars(on_one_line(shortened)), fontsize=8, color="#555555", pad=3)


def _draw_bars(axes: "Axes", classes: Sequence[tuple[str, float]]) -> None:
    probabilities = [probability for _, probability in classes]
    positions = range(len(classes))
    axes.barh(positions, [1] * len(classes), height=0.86, color="#f0f0f0")
    axes.barh(positions, probabilities, height=0.86, color=["#9ccbe8", *["#d3e6f3"] * (len(classes) - 1)])
    for position, (name, probability) in enumerate(classes):
        weight = "bold" if position == 0 else "normal"
        axes.text(0.02, position, _escape_dollars(name), va="center", fontsize=8, weight=weight)
        axes.text(0.98, position, _percent(probability), va="center", ha="right", fontsize=8, weight=weight)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(classes) - 0.5, -0.5)


def _escape_dollars(text: str) -> str:
    return text.replace("$", r"\$")
