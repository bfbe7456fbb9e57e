"""What is in a figure, and whether its parts lie on one another."""

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox


def labels(axes: Axes) -> list[str]:
    """The labels of a panel's curves and marks, as its legend names them."""
    return axes.get_legend_handles_labels()[1]


def line_labelled(axes: Axes, label: str) -> Line2D:
    return next(line for line in axes.lines if line.get_label() == label)


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of parts (title, panels, legends) of which one covers the other, or the edge cuts one off."""
    figure.draw_without_rendering()
    parts: dict[str, Bbox] = {"title": figure._suptitle.get_window_extent()}  # type: ignore[attr-defined]
    for number, axes in enumerate(figure.axes):
        legend = axes.get_legend()
        if legend is not None:
            parts[f"legend {number}"] = legend.get_window_extent()
            legend.set_in_layout(False)
        if axes.axison and axes.get_visible():
            parts[f"panel {number}"] = axes.get_tightbbox()
    for legend in figure.legends:
        parts["figure's legend"] = legend.get_window_extent()
    edge = figure.bbox.padded(1)
    cut = [(name, "edge") for name, box in parts.items() if not _contains(edge, box)]
    shrunk = {name: box.padded(-1) for name, box in parts.items()}
    return cut + [(a, b) for a, b in combinations(parts, 2) if shrunk[a].overlaps(shrunk[b])]


def _contains(outer: Bbox, inner: Bbox) -> bool:
    return outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1
