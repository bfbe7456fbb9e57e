"""Figure of a range test: the loss while the learning rate rises."""

from pathlib import Path

import numpy as np

from cnn.errors import UserError
from cnn.monitoring.png import as_png
from cnn.shown_text import on_one_line
from cnn.whole_file import write_whole


def draw_range_test(
    rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, largest: int, path: Path, title: str
) -> None:
    """Writes the figure as PNG.

    Args:
        rates: learning rates (steps,).
        losses: the steps' losses (steps,); those that are not finite are left out.
        smoothed: the mean of each and its neighbours (steps,), which may be infinite at the end.
        largest: the step with the largest rate at which the mean is near the lowest, which is marked.
        path: the file.
        title: the network and the data.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=160, layout="constrained")
    figure.suptitle(on_one_line(title), parse_math=False)
    axes = figure.subplots()
    axes.plot(rates, losses, color="#0072B2", alpha=0.3, linewidth=1, label="loss of each step")
    axes.plot(rates, smoothed, color="#0072B2", label="mean with its neighbours")
    label = f"near the lowest up to {rates[largest]:.2g}"
    axes.axvline(rates[largest], color="black", linewidth=1, linestyle="dotted", label=label)
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    low, first = smoothed.min(), smoothed[0]
    axes.set_ylim(low - 0.1 * (first - low) - 0.01, first + 0.5 * (first - low) + 0.01)  # not up to where it diverges
    axes.legend()
    try:
        write_whole(path, as_png(figure))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another --figure.") from error
