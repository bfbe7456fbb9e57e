"""The learning curve of a run while it trains, shown in a notebook."""

import contextlib
import sys
import time
from pathlib import Path
from typing import Any

from cnn.errors import UserError
from cnn.from_json import read_object
from cnn.monitoring.figures.figure import curves_figure
from cnn.monitoring.png import as_png
from cnn.monitoring.records.metrics import read_metrics

_MIN_SECONDS = 2.0
_MAX_SHARE = 0.1
"""Maximum share of the time, on one core, that drawing takes from training."""


def in_notebook() -> bool:
    """Whether this code runs in a notebook, which can show figures, and not in a terminal."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class LiveCurve:
    """Shows the curves of a run in one place of a notebook's output; does nothing elsewhere.

    Args:
        folder: the run's folder, which need not exist yet.
        title: the network and the data.
    """

    def __init__(self, folder: Path, title: str) -> None:
        self._folder, self._title = folder, title
        self._is_shown = in_notebook()
        self._display: Any = None
        self._drawn_bytes = 0
        self._next_time = 0.0

    def update(self, *, final: bool = False) -> None:
        """Draws the curves if there is something new, and the last drawing is long enough ago or this is the `final`
        one."""
        begin = time.monotonic()
        if not self._is_shown or (begin < self._next_time and not final):
            return
        with contextlib.suppress(OSError, UserError):  # no metrics yet; the run itself reports damaged ones
            metrics = self._folder / "metrics.jsonl"
            size = metrics.stat().st_size
            if size != self._drawn_bytes:
                figure = curves_figure(read_metrics(metrics), self._title, self._folder, self._best_step())
                self._show(as_png(figure))
                self._drawn_bytes = size
        self._next_time = begin + max(_MIN_SECONDS, (time.monotonic() - begin) / _MAX_SHARE)

    def _best_step(self) -> int | None:
        """The step whose weights were tested; None until the run has ended."""
        summary = self._folder / "summary.json"
        best = read_object(summary).get("best_step") if summary.is_file() else None
        return best if isinstance(best, int) else None

    def _show(self, png: bytes) -> None:
        from IPython.display import Image, display

        image = Image(png, retina=True)
        if self._display is None:
            self._display = display(image, display_id=True)
        else:
            self._display.update(image)
