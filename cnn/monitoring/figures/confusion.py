"""Per-class results and the confusion matrix of a network: as tables and as a figure.

A confusion matrix has a row for each true class and a column for each predicted class.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.monitoring.png import as_png
from cnn.shown_text import on_one_line
from cnn.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_HEADING = 4
"""Maximum characters of class names that are used as column headings."""

_MAX_LABELLED_CLASSES = 40
"""Maximum number of classes for which the figure shows names and counts."""


def class_rows(names: Sequence[str], confusion: np.ndarray) -> list[dict[str, Any]]:
    """Returns for each class its name, numbers of images and of correct predictions, recall and precision.

    Recall and precision are from 0 to 1, or None where they would be divided by zero.
    """
    names = [*map(on_one_line, names)]
    right, images, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return [
        {
            "name": name,
            "images": int(images[label]),
            "right": int(right[label]),
            "recall": _share(right[label], images[label]),
            "precision": _share(right[label], predicted[label]),
        }
        for label, name in enumerate(names)
    ]


def _share(part: int, total: int) -> float | None:
    return float(part / total) if total else None


def class_table(rows: Sequence[dict[str, Any]]) -> str:
    """Formats the rows of `class_rows` as text."""
    width = max(len("class"), *(len(row["name"]) for row in rows))
    lines = [f"{'class':<{width}}  {'images':>7} {'right':>7} {'recall':>9} {'precision':>10}"]
    for row in rows:
        recall, precision = (_percent(row[name]) for name in ("recall", "precision"))
        lines.append(f"{row['name']:<{width}}  {row['images']:>7,} {row['right']:>7,} {recall:>9} {precision:>10}")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def confusion_table(names: Sequence[str], confusion: np.ndarray, columns: int) -> str:
    """Formats the matrix as text, or only the most frequent confusions if it is wider than `columns` characters."""
    names = [*map(on_one_line, names)]
    headings, row_labels = list(names), list(names)
    if max(map(len, names)) > _MAX_HEADING:
        headings = [str(label) for label in range(len(names))]
        row_labels = [f"{label:>{len(headings[-1])}} {name}" for label, name in enumerate(names)]
    cell_width = 1 + max(len(str(confusion.max())), *map(len, headings))
    label_width = max(map(len, row_labels))
    if label_width + cell_width * len(names) > columns:
        return _most_confused(names, confusion)
    lines = ["confusion matrix, a row for each true class, a column for each predicted class:"]
    lines.append(" " * label_width + "".join(f"{heading:>{cell_width}}" for heading in headings))
    for label, row in zip(row_labels, confusion.tolist(), strict=True):
        lines.append(f"{label:<{label_width}}" + "".join(f"{count or '.':>{cell_width}}" for count in row))
    return "\n".join(lines)


def _most_confused(names: Sequence[str], confusion: np.ndarray, max_lines: int = 10) -> str:
    errors = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-errors, axis=None, kind="stable")[:max_lines]
    lines = ["confused most often:"]
    for label, predicted in zip(*np.unravel_index(order, errors.shape), strict=True):
        count = errors[label, predicted]
        if count:
            times = "once" if count == 1 else f"{count:,} times"
            share = _percent(_share(count, confusion[label].sum()))
            lines.append(f"  {names[label]} taken for {names[predicted]}: {times} ({share})")
    return "\n".join(lines) if len(lines) > 1 else "no class is confused with another."


def draw_confusion(names: Sequence[str], confusion: np.ndarray, path: Path, title: str) -> None:
    """Draws the matrix into a PNG, coloured by each count's share of its row. Raises OSError."""
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    side = min(max(5.0, 2.5 + 0.45 * len(names)), 12.0)
    figure = Figure(figsize=(side + 0.6, side), dpi=160, layout="constrained")
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")  # shows low shares
    axes.set_title(title.replace("$", r"\$"), fontsize=12)
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class")
    bar = figure.colorbar(image, ax=axes, shrink=0.6, ticks=[0, 0.05, 0.25, 0.5, 1])
    bar.ax.set_yticklabels(["0", "5", "25", "50", "100"])
    bar.set_label("% of the true class")
    if len(names) <= _MAX_LABELLED_CLASSES:
        _label(axes, names, confusion, shares)
    write_whole(path, as_png(figure))


def _label(axes: "Axes", names: Sequence[str], confusion: np.ndarray, shares: np.ndarray) -> None:
    escaped = [on_one_line(name).replace("$", r"\$") for name in names]
    slanted = max(map(len, names)) > _MAX_HEADING
    positions = range(len(names))
    axes.set_xticks(positions, escaped, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    axes.set_yticks(positions, escaped)
    size = 9 if len(names) <= 20 else 6
    for row, column in zip(*np.nonzero(confusion), strict=True):
        colour = "white" if shares[row, column] > 0.35 else "black"
        axes.text(column, row, f"{confusion[row, column]:,}", ha="center", va="center", color=colour, fontsize=size)
