"""Output of predictions as they are made: to the terminal, to files, and the first ones to a figure."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cnn.data.folders.listing import shown
from cnn.data.folders.loose_images import printable
from cnn.data.images.image_chunks import ImageChunk
from cnn.data.store.work_progress import IMAGES, WorkProgress
from cnn.errors import UserError
from cnn.monitoring.records.prediction_files import CSV, JSON, LEFT_OUT, FolderInUseError, PredictionFiles
from cnn.monitoring.records.predictions import MAX_DRAWN, Prediction, PredictionTable, draw_predictions
from cnn.monitoring.records.streamed_file import UNFINISHED
from cnn.shown_text import on_one_line

_FIGURE = "predictions.png"
_MAX_LISTED = 10
# Larger images are reduced to no less than this side in pixels for drawing; the figure shows half as many.
_DRAWN_SIDE = 512


def is_prediction_figure(path: str) -> bool:
    """Whether a file is the figure of an earlier prediction, and so not an image to predict."""
    return Path(path).name == _FIGURE and Path(path).with_name(JSON).exists()


class PredictionOutput:
    """Writes predictions in the order of the images; a context manager that locks the folder.

    Args:
        folder: folder of the files, created if missing.
        paths: paths of all images.

    Raises:
        UserError: the folder cannot be written (raised by all methods), or another prediction writes to it.
    """

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        self._folder = folder
        self._paths = paths
        try:
            with self._explain_errors():
                self._files = PredictionFiles(folder)
        except FolderInUseError:
            raise UserError(
                f"another prediction writes to {folder}: wait until it ends, or choose another --output."
            ) from None
        self._table = PredictionTable(max(map(len, paths)))
        self._title = ""
        self._drawn: list[Prediction] = []
        self._images: list[np.ndarray] = []
        self._waiting: list[Prediction] = []  # held back, so that the columns of the first ones are aligned
        self._damaged: list[tuple[str, str]] = []  # the first ones only
        self._progress: WorkProgress | None = None

    def skip_damaged(self, chunks: Iterator[ImageChunk]) -> Iterator[ImageChunk]:
        """Yields chunks that hold images, and records damaged files. Raises UserError if no file is an image."""
        found = False
        for chunk in chunks:
            self._leave_out(chunk.damaged)
            if chunk.paths:
                found = True
                yield chunk
        if not found:
            more = self._files.left_out - len(self._damaged)
            listed = ", ".join(f"{shown(path)} ({reason})" for path, reason in self._damaged)
            raise UserError(f"no readable image: {listed}{f', and {more:,} more' if more else ''}; name other files.")

    def begin(self, network: dict[str, Any], top: int) -> None:
        """Writes the headers; takes the network's description and the number of classes per image."""
        self._title = "{model} on {data}, step {step:,}".format(**network)
        with self._explain_errors():
            self._files.begin(network, top)
        on_terminal = sys.stdout is not None and sys.stdout.isatty()  # there the lines themselves show the progress
        if len(self._paths) > MAX_DRAWN and not on_terminal:
            self._progress = WorkProgress("predicting", done=0, total=len(self._paths), unit=IMAGES)

    def add(self, predictions: list[Prediction], images: np.ndarray) -> None:
        """Writes predictions; `images` are the network's inputs, uint8 (predictions, height, width, channels)."""
        with self._explain_errors():
            self._files.add(predictions)
        self._waiting += predictions
        if self._files.count >= MAX_DRAWN:
            self._print_waiting()
            sys.stdout.flush()
        missing = MAX_DRAWN - len(self._drawn)
        self._drawn += predictions[:missing]
        self._images += [_reduced(image) for image in images[:missing]]
        if self._progress is not None:
            self._progress.add(len(predictions))

    def finish(self) -> None:
        """Gives the files their final names, draws the figure, and reports images that were left out."""
        self._print_waiting()
        with self._explain_errors():
            self._files.finish()
            draw_predictions(self._drawn, self._images, self._folder / _FIGURE, self._title, count=self._files.count)
        print(f"\nWritten to {on_one_line(str(self._folder))}: predictions.csv, .json and .png", flush=True)
        if self._files.left_out:
            left_out, path = self._files.left_out, self._folder / LEFT_OUT
            where = on_one_line(str(path))
            lines = [f"{left_out:,} of {len(self._paths):,} files are left out; all are listed in {where}:"]
            lines += [f"  {shown(path)} ({reason})" for path, reason in self._damaged]
            print("\n".join(lines), file=sys.stderr)

    def __enter__(self) -> "PredictionOutput":
        return self

    def __exit__(self, error_type: type[BaseException] | None, *error: object) -> None:
        if self._progress is not None:
            self._progress.close()
        self._files.close()
        if error_type is not None and error_type is not BrokenPipeError and self._files.count:
            path = on_one_line(str(self._folder / (CSV + UNFINISHED)))
            print(f"{path} holds the {self._files.count:,} predictions made so far.", file=sys.stderr)

    def _leave_out(self, damaged: list[tuple[str, str]]) -> None:
        with self._explain_errors():
            self._files.leave_out([(printable(path), reason) for path, reason in damaged])
        self._damaged += damaged[: _MAX_LISTED - len(self._damaged)]
        if self._progress is not None:
            self._progress.add(len(damaged))

    def _print_waiting(self) -> None:
        if self._waiting:
            print(self._table.lines(self._waiting))
        self._waiting = []

    @contextlib.contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self._folder} cannot be written ({error.strerror}): choose another --output.") from error


def _reduced(image: np.ndarray) -> np.ndarray:
    """Copies an image, so that its chunk does not stay in memory, and reduces it to what a figure can show."""
    factor = max(1, image.shape[0] // _DRAWN_SIDE)
    pixels = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).reduce(factor)
    return np.array(pixels).reshape(pixels.height, pixels.width, image.shape[2])
