"""Figures as PNG images."""

import io
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def as_png(figure: "Figure") -> bytes:
    """Returns a figure as PNG. Characters that its font lacks, for example in names of folders, are drawn as boxes."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.image import imsave

    canvas: Any = FigureCanvasAgg(figure)
    png = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        canvas.draw()  # once, where savefig draws twice
    imsave(png, np.asarray(canvas.buffer_rgba()), format="png", dpi=figure.dpi)
    return png.getvalue()
