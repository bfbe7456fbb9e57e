"""Checkpoints: the whole state of a run, in files that are there whole or not at all.

A checkpoint is an uncompressed zip of .npy arrays (numpy's .npz), so that every array has a checksum and nothing in it
can run code, with a record in JSON beside the arrays.
"""

import contextlib
import dataclasses
import json
import math
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from cnn.errors import RunError, UserError
from cnn.foreign_folder import open_new, open_to_read

FORMAT = 1
_RECORD = "record.json"
_ARRAY = ".npy"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
KEPT = 2
"""Checkpoints by step that a run keeps, besides the best."""


class DamagedCheckpointError(UserError):
    """A checkpoint's file is not as it was written."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was read."""

    path: Path
    arrays: dict[str, np.ndarray]
    record: dict[str, Any]


def save_checkpoint(path: Path, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
    """Writes beside `path`, flushes to disk, then renames: a reader finds the old file or the new one.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    text = json.dumps({"format": FORMAT, "arrays": sorted(arrays), **record}).encode()
    with _appears_whole(path) as unfinished, open_new(unfinished) as file:
        np.savez(file, allow_pickle=False, **{_RECORD: np.frombuffer(text, np.uint8), **arrays})
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(path: Path, without: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the record of a checkpoint, every byte checked.

    Args:
        path: of the file.
        without: what the names of arrays begin with that are checked only, and take no memory.

    Raises:
        DamagedCheckpointError: the file is not whole.
        UserError: it cannot be read, or is of another format.
    """
    try:
        file = open_to_read(path)
    except OSError as error:
        raise UserError(f"the checkpoint {path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise UserError(f"the checkpoint {path} cannot be read: {error}.") from error
    try:
        with file:
            arrays, all_names = _read_arrays(file, without)
        record = json.loads(arrays.pop(_RECORD).tobytes())
        if not isinstance(record, dict):
            raise ValueError("its record is none")
        form, names = record.get("format"), record.pop("arrays", None)
        if form == FORMAT and names != sorted(all_names - {_RECORD}):
            raise ValueError("an array is missing")
    except Exception as error:  # NumPy and zipfile have no common class for what other bytes make them raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DamagedCheckpointError(
            f"the checkpoint {path} is damaged ({reason}); choose another one, or another --run_dir to start anew."
        ) from error
    if form != FORMAT:
        raise UserError(f"the checkpoint {path} is of format {form}; this version reads {FORMAT}.")
    return arrays, record


def _read_arrays(file: IO[bytes], without: str | None) -> tuple[dict[str, np.ndarray], set[str]]:
    """What is in a checkpoint, and all names. It is not compressed, so that it never takes more memory than its file
    is long."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = {each.filename.removesuffix(_ARRAY) for each in members if each.filename.endswith(_ARRAY)}
        if len(names) < len(members):
            raise ValueError("something in it is not an array, or is in it twice")
        if sum(each.file_size for each in members) > os.fstat(file.fileno()).st_size:
            raise ValueError("it unpacks to more than it is")
        arrays = {}
        for each in members:
            name = each.filename.removesuffix(_ARRAY)
            with archive.open(each) as content:
                array = _read_array(content, each.file_size)
            if without is None or not name.startswith(without):
                arrays[name] = array
        return arrays, names


def _read_array(content: IO[bytes], size: int) -> np.ndarray:
    """An array from a file of so many bytes; ValueError, before it takes memory, when it promises more or less."""
    version = np.lib.format.read_magic(content)
    if version not in _HEADERS:
        raise ValueError("an array is of a format that no run writes")
    shape, _, kind = _HEADERS[version](content)
    if kind.hasobject:
        raise ValueError("an array holds objects, which might run code")
    if content.tell() + math.prod(shape) * kind.itemsize != size:
        raise ValueError("an array is not as long as it says")
    content.seek(0)
    array: np.ndarray = np.lib.format.read_array(content, allow_pickle=False)
    if content.read(1):  # which compares the checksum, too
        raise ValueError("an array is followed by something else")
    return array


class CheckpointFolder:
    """The checkpoints of one run: the last few by step, and the best."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best = folder / "best.npz"

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, ascending."""
        found = (re.fullmatch(r"step-([0-9]{9,15})\.npz", path.name) for path in self.folder.glob("step-*.npz"))
        return sorted(int(match[1]) for match in found if match and self.path(int(match[1])).name == match[0])

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}.npz"

    def load_last(self) -> tuple[Checkpoint | None, list[str]]:
        """The last checkpoint that is not damaged (None when there is none at all), and what is wrong with later ones.

        Raises:
            DamagedCheckpointError: all that there are, naming the last.
            UserError: as `load_checkpoint`.
        """
        damage: list[DamagedCheckpointError] = []
        for step in reversed(self.steps()):
            try:
                arrays, record = load_checkpoint(self.path(step))
            except DamagedCheckpointError as error:
                damage.append(error)
                continue
            return Checkpoint(path=self.path(step), arrays=arrays, record=record), [str(error) for error in damage]
        if damage:
            raise damage[0]
        return None, []

    def save(self, step: int, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any], *, best: bool) -> None:
        """Saves the state after `step` steps; then removes those that are no longer kept.

        Raises:
            RunError: it cannot be written.
            UserError: the folder is a link to one that holds other things than checkpoints.
        """
        self.check_link()
        with contextlib.suppress(OSError):  # if it is not there now, saving says so
            self.folder.mkdir(exist_ok=True)
        save_checkpoint(self.path(step), arrays, {**record, "best": best})
        if best:
            self._mark_best(step)
        for old in self.steps()[:-KEPT]:
            self.path(old).unlink(missing_ok=True)

    def check_link(self) -> None:
        """Raises UserError when the folder is a link to one that holds other things than checkpoints.

        A link to another disk is a user's; in a folder where something else is, that might be replaced.
        """
        if os.path.islink(self.folder) and self.folder.is_dir() and not self.steps() and any(self.folder.iterdir()):
            raise UserError(
                f"{self.folder} is a link to a folder that holds other files: link it to an empty one, or remove the "
                "link."
            )

    def complete(self, last: Checkpoint) -> None:
        """Ends what a killed process had begun: saving another one, or making the last one the best."""
        for unfinished in self.folder.glob("*.unfinished"):
            unfinished.unlink(missing_ok=True)
        if last.record.get("best") is True and not (self.best.exists() and self.best.samefile(last.path)):
            self._mark_best(int(last.path.stem.removeprefix("step-")))

    def bytes(self) -> int:
        """Of the disk that they take."""
        try:
            files = [path.stat() for path in self.folder.glob("*.npz")]
        except OSError:  # no such folder can be; who wants to write there is told why
            return 0
        return sum({each.st_ino: each.st_size for each in files}.values())

    def _mark_best(self, step: int) -> None:
        with _appears_whole(self.best) as unfinished:
            try:
                os.link(self.path(step), unfinished)
            except OSError:  # a file system without hard links
                with open(self.path(step), "rb") as saved, open_new(unfinished) as copy:
                    shutil.copyfileobj(saved, copy)
                    copy.flush()
                    os.fsync(copy.fileno())


@contextlib.contextmanager
def _appears_whole(path: Path) -> Iterator[Path]:
    """Gives a path to write to that becomes `path` when the block ends well, and is removed when it does not."""
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        yield unfinished
        os.replace(unfinished, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise RunError(
            f"the checkpoint {path} could not be written ({error.strerror}); make room or mend the folder's "
            "permissions, then go on with --resume."
        ) from error
