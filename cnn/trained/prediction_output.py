"""Where predictions go as they come: to the terminal, into files, and the first into a picture."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cnn.data.image_chunks import ImageChunk
from cnn.data.listing import shown
from cnn.data.loose_images import printable
from cnn.data.work_progress import IMAGES, WorkProgress
from cnn.errors import UserError
from cnn.monitoring.prediction_files import CSV, JSON, LEFT_OUT, FolderInUseError, PredictionFiles
from cnn.monitoring.predictions import DRAWN, Prediction, PredictionTable, draw_predictions
from cnn.monitoring.streamed_file import UNFINISHED
from cnn.shown_text import on_one_line

_PICTURE = "predictions.png"
_NAMED = 10
# Pixels that a drawn image has at least, if it has so many; half as many fill its place in the picture.
_DRAWN_SIDE = 512


def is_drawn_by_a_prediction(path: str) -> bool:
    """Whether an image is the picture that a prediction drew, which is no image to predict."""
    return Path(path).name == _PICTURE and Path(path).with_name(JSON).exists()


class PredictionOutput:
    """Takes predictions in the order of the images; a context, at whose end the folder is free for others.

    Args:
        folder: for the files; it is made if missing.
        paths: of all images.

    Raises:
        UserError: the folder cannot be written, by any method; or another prediction writes to it.
    """

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        self._folder = folder
        self._paths = paths
        try:
            with self._written():
                self._files = PredictionFiles(folder)
        except FolderInUseError:
            raise UserError(
                f"another prediction writes to {folder}: wait until it ends, or choose another --output."
            ) from None
        self._table = PredictionTable(max(map(len, paths)))
        self._title = ""
        self._drawn: list[Prediction] = []
        self._images: list[np.ndarray] = []
        self._waiting: list[Prediction] = []  # to be aligned with the first ones
        self._damaged: list[tuple[str, str]] = []  # the first
        self._progress: WorkProgress | None = None

    def without_damaged(self, chunks: Iterator[ImageChunk]) -> Iterator[ImageChunk]:
        """The chunks that hold images; the files that are none are taken down. UserError if not one is an image."""
        found = False
        for chunk in chunks:
            self._leave_out(chunk.damaged)
            if chunk.paths:
                found = True
                yield chunk
        if not found:
            more = self._files.left_out - len(self._damaged)
            told = ", ".join(f"{shown(path)} ({reason})" for path, reason in self._damaged)
            raise UserError(
                f"no image, or a damaged one: {told}{f', and {more:,} more' if more else ''}; leave it out."
            )

    def begin(self, described: dict[str, Any], places: int) -> None:
        """Before the first prediction: what there is to say of the network, and how many classes of each image."""
        self._title = "{model} on {data}, step {step:,}".format(**described)
        with self._written():
            self._files.begin(described, places)
        on_terminal = sys.stdout is not None and sys.stdout.isatty()  # where the lines themselves show that it works
        if len(self._paths) > DRAWN and not on_terminal:
            self._progress = WorkProgress("predicting", done=0, total=len(self._paths), unit=IMAGES)

    def add(self, predictions: list[Prediction], images: np.ndarray) -> None:
        """Some predictions, with what the network saw, uint8 (predictions, height, width, channels)."""
        with self._written():
            self._files.add(predictions)
        self._waiting += predictions
        if self._files.count >= DRAWN:
            self._print_waiting()
            sys.stdout.flush()
        missing = DRAWN - len(self._drawn)
        self._drawn += predictions[:missing]
        self._images += [_as_drawn(image) for image in images[:missing]]
        if self._progress is not None:
            self._progress.add(len(predictions))

    def finish(self) -> None:
        """After the last prediction: gives the files their names, draws the picture, and tells what was left out."""
        self._print_waiting()
        with self._written():
            self._files.finish()
            draw_predictions(self._drawn, self._images, self._folder / _PICTURE, self._title, count=self._files.count)
        print(f"\nKept in {on_one_line(str(self._folder))}: predictions.csv, .json and .png", flush=True)
        if self._files.left_out:
            left_out, path = self._files.left_out, self._folder / LEFT_OUT
            where = on_one_line(str(path))
            lines = [f"{left_out:,} of {len(self._paths):,} files are left out, all of them told in {where}:"]
            lines += [f"  {shown(path)} ({reason})" for path, reason in self._damaged]
            print("\n".join(lines), file=sys.stderr)

    def __enter__(self) -> "PredictionOutput":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._progress is not None:
            self._progress.close()
        self._files.close()
        if kind is not None and kind is not BrokenPipeError and self._files.count:
            path = on_one_line(str(self._folder / (CSV + UNFINISHED)))
            print(f"{path} holds the {self._files.count:,} predictions that were made until then.", file=sys.stderr)

    def _leave_out(self, damaged: list[tuple[str, str]]) -> None:
        with self._written():
            self._files.leave_out([(printable(path), reason) for path, reason in damaged])
        self._damaged += damaged[: _NAMED - len(self._damaged)]
        if self._progress is not None:
            self._progress.add(len(damaged))

    def _print_waiting(self) -> None:
        if self._waiting:
            print(self._table.lines(self._waiting))
        self._waiting = []

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self._folder} cannot be written ({error.strerror}): choose another --output.") from error


def _as_drawn(image: np.ndarray) -> np.ndarray:
    """No larger than a picture can show, and a copy, so that its chunk does not stay in memory."""
    factor = max(1, image.shape[0] // _DRAWN_SIDE)
    pixels = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).reduce(factor)
    return np.array(pixels).reshape(pixels.height, pixels.width, image.shape[2])
