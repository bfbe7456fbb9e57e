"""What a network takes images for, in files for programs, which are written as it comes."""

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

from cnn.monitoring.predictions import Prediction
from cnn.monitoring.streamed_file import StreamedFile

CSV, JSON, LEFT_OUT = "predictions.csv", "predictions.json", "left_out.csv"


class FolderInUseError(Exception):
    """Another process writes predictions into the folder."""


class PredictionFiles:
    """predictions.csv and predictions.json of a folder, which is made if missing; all methods raise OSError.

    Until they are whole the files have other names, and those of an earlier prediction stay. Where images had to be
    left out there is left_out.csv, too. Until `close` others are kept from the folder.

    Args:
        folder: for the files.

    Raises:
        FolderInUseError: another process writes predictions there.
    """

    def __init__(self, folder: Path) -> None:
        self.count = 0
        """Predictions that are written."""

        self.left_out = 0
        """Images that are left out."""

        self._folder = folder
        self._made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder)
        self._csv, self._json, self._left_out = (StreamedFile(folder / name) for name in (CSV, JSON, LEFT_OUT))
        self._left_out.write(_csv_lines([("image", "reason")]))

    def begin(self, described: dict[str, Any], places: int) -> None:
        """Writes what comes before predictions.

        Args:
            described: what the JSON file says of the network.
            places: classes of each prediction.
        """
        columns = (f"{what}{place}" for place in range(1, places + 1) for what in ("class", "probability"))
        self._csv.write(_csv_lines([["image", *columns]]))
        # All but the end of the list, which stays open while predictions come.
        self._json.write(json.dumps({**described, "predictions": []}, indent=2).removesuffix("]\n}"))

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Writes a row and a JSON object for each image: its name, the likeliest class, its probability, ..."""
        self._csv.write(_csv_lines([image, *chain(*classes)] for image, classes in predictions))
        objects = (
            {"image": image, "classes": [{"name": name, "probability": part} for name, part in classes]}
            for image, classes in predictions
        )
        listed = ",\n".join(textwrap.indent(json.dumps(each, indent=2), "    ") for each in objects)
        self._json.write(f"{',' if self.count else ''}\n{listed}")
        self.count += len(predictions)

    def leave_out(self, damaged: Sequence[tuple[str, str]]) -> None:
        """Writes name and reason of images that could not be read."""
        self._left_out.write(_csv_lines(damaged))
        self.left_out += len(damaged)

    def finish(self) -> None:
        """Gives the files their names; of an earlier prediction nothing remains."""
        self._json.write("\n  ]\n}\n")
        self._csv.finish()
        self._json.finish()
        if self.left_out:
            self._left_out.finish()
        else:
            self._left_out.discard()
            (self._folder / LEFT_OUT).unlink(missing_ok=True)

    def close(self) -> None:
        """Lets others write to the folder. Unfinished files stay there, or no trace if they hold no predictions."""
        files = (self._csv, self._json, self._left_out)
        for file in files:
            file.close()
        if not self.count:
            with contextlib.suppress(OSError):
                for file in files:
                    file.discard()
                if self._made:
                    self._folder.rmdir()
        os.close(self._lock)


def _csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _lock(folder: Path) -> int:
    """Keeps other predictions out, where the file system has locks, for as long as what is returned is open."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise FolderInUseError from None
    except OSError:  # NFS has none for folders
        pass
    return lock
