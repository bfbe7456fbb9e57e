"""Predictions as CSV and JSON files, which are written as the predictions are made."""

import contextlib
import csv
import fcntl
import io
import json
import os
import textwrap
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from cnn.monitoring.records.predictions import Prediction
from cnn.monitoring.records.streamed_file import StreamedFile

CSV, JSON, LEFT_OUT = "predictions.csv", "predictions.json", "left_out.csv"


class FolderInUseError(Exception):
    """Another process writes predictions to the folder."""


class PredictionFiles:
    """predictions.csv and predictions.json of a folder, which is created if missing; all methods raise OSError.

    Until they are complete the files have temporary names, and the files of an earlier prediction stay. If images had
    to be left out, they are listed in left_out.csv. Until `close` other processes cannot write predictions to the
    folder.

    Args:
        folder: folder of the files.

    Raises:
        FolderInUseError: another process writes predictions there.
    """

    def __init__(self, folder: Path) -> None:
        self.count = 0
        """Number of predictions written."""

        self.left_out = 0
        """Number of images left out."""

        self._folder = folder
        self._created = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder)
        self._csv, self._json, self._left_out = (StreamedFile(folder / name) for name in (CSV, JSON, LEFT_OUT))
        self._left_out.write(_csv_lines([("image", "reason")]))

    def begin(self, network: dict[str, Any], top: int) -> None:
        """Writes the files' headers.

        Args:
            network: fields of the JSON file that describe the network.
            top: number of classes per prediction.
        """
        columns = (f"{name}{rank}" for rank in range(1, top + 1) for name in ("class", "probability"))
        self._csv.write(_csv_lines([["image", *columns]]))
        # Without the end of the list, as predictions are added to it.
        self._json.write(json.dumps({**network, "predictions": []}, indent=2).removesuffix("]\n}"))

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Writes a row and a JSON object for each image: its name, the likeliest class, its probability, ..."""
        self._csv.write(_csv_lines([image, *chain(*classes)] for image, classes in predictions))
        objects = (
            {"image": image, "classes": [{"name": name, "probability": probability} for name, probability in classes]}
            for image, classes in predictions
        )
        items = ",\n".join(textwrap.indent(json.dumps(prediction, indent=2), "    ") for prediction in objects)
        self._json.write(f"{',' if self.count else ''}\n{items}")
        self.count += len(predictions)

    def leave_out(self, damaged: Sequence[tuple[str, str]]) -> None:
        """Writes the names of images that could not be read, and the reasons."""
        self._left_out.write(_csv_lines(damaged))
        self.left_out += len(damaged)

    def finish(self) -> None:
        """Renames the files to their final names, replacing those of an earlier prediction."""
        self._json.write("\n  ]\n}\n")
        self._csv.finish()
        self._json.finish()
        if self.left_out:
            self._left_out.finish()
        else:
            self._left_out.discard()
            (self._folder / LEFT_OUT).unlink(missing_ok=True)

    def close(self) -> None:
        """Unlocks the folder. Unfinished files stay, unless they hold no predictions."""
        files = (self._csv, self._json, self._left_out)
        for file in files:
            file.close()
        if not self.count:
            with contextlib.suppress(OSError):
                for file in files:
                    file.discard()
                if self._created:
                    self._folder.rmdir()
        os.close(self._lock)


def _csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _lock(folder: Path) -> int:
    """Locks the folder, if the file system has locks, until the returned descriptor is closed."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise FolderInUseError from None
    except OSError:  # NFS has no locks for folders
        pass
    return lock
