"""Checkpoints: the complete state of a run, in files that appear complete or not at all.

A checkpoint is an uncompressed zip of .npy arrays (numpy's .npz), so that every array has a checksum and nothing in it
can run code, with a JSON record beside the arrays.
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
"""Number of latest checkpoints that a run keeps, besides the best."""


class DamagedCheckpointError(UserError):
    """A checkpoint's file is not as a run wrote it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint in memory."""

    path: Path
    arrays: dict[str, np.ndarray]
    record: dict[str, Any]


def save_checkpoint(path: Path, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> None:
    """Writes a temporary file, flushes it to disk, and renames it to `path`: readers find the old file or the new one.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    text = json.dumps({"format": FORMAT, "arrays": sorted(arrays), **record}).encode()
    with _complete_file(path) as unfinished, open_new(unfinished) as file:
        np.savez(file, allow_pickle=False, **{_RECORD: np.frombuffer(text, np.uint8), **arrays})
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(path: Path, without: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads a checkpoint's arrays and record, and checks every byte.

    Args:
        path: the file.
        without: a prefix of array names: these arrays are checked only, and not kept in memory.

    Raises:
        DamagedCheckpointError: the file is damaged.
        UserError: it cannot be read, or has another format.
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
            raise ValueError("its record is not an object")
        file_format, names = record.get("format"), record.pop("arrays", None)
        if file_format == FORMAT and names != sorted(all_names - {_RECORD}):
            raise ValueError("an array is missing")
    except Exception as error:  # NumPy's and zipfile's errors for damaged files have no common class
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DamagedCheckpointError(
            f"the checkpoint {path} is damaged ({reason}); choose another one, or another --run_dir to start again."
        ) from error
    if file_format != FORMAT:
        raise UserError(f"the checkpoint {path} has format {file_format}; this version reads format {FORMAT}.")
    return arrays, record


def _read_arrays(file: IO[bytes], without: str | None) -> tuple[dict[str, np.ndarray], set[str]]:
    """Reads the arrays, and the names of all arrays. As the file is not compressed, they never take more memory than
    its size."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = {each.filename.removesuffix(_ARRAY) for each in members if each.filename.endswith(_ARRAY)}
        if len(names) < len(members):
            raise ValueError("an entry in it is not an array, or occurs twice")
        if sum(each.file_size for each in members) > os.fstat(file.fileno()).st_size:
            raise ValueError("its arrays are larger than the file")
        arrays = {}
        for each in members:
            name = each.filename.removesuffix(_ARRAY)
            with archive.open(each) as content:
                array = _read_array(content, each.file_size)
            if without is None or not name.startswith(without):
                arrays[name] = array
        return arrays, names


def _read_array(content: IO[bytes], size: int) -> np.ndarray:
    """Reads an array from `size` bytes; raises ValueError, before allocating memory, when its header says otherwise."""
    version = np.lib.format.read_magic(content)
    if version not in _HEADERS:
        raise ValueError("an array has a format that no run writes")
    shape, _, dtype = _HEADERS[version](content)
    if dtype.hasobject:
        raise ValueError("an array holds objects, which might run code")
    if content.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError("an array's length contradicts its header")
    content.seek(0)
    array: np.ndarray = np.lib.format.read_array(content, allow_pickle=False)
    if content.read(1):  # reading to the end also checks the checksum
        raise ValueError("an array is followed by other data")
    return array


class CheckpointFolder:
    """The checkpoints of one run: the latest and the best."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best = folder / "best.npz"

    def steps(self) -> list[int]:
        """The steps of the saved checkpoints, ascending."""
        found = (re.fullmatch(r"step-([0-9]{9,15})\.npz", path.name) for path in self.folder.glob("step-*.npz"))
        return sorted(int(match[1]) for match in found if match and self.path(int(match[1])).name == match[0])

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}.npz"

    def load_last(self) -> tuple[Checkpoint | None, list[str]]:
        """Loads the last undamaged checkpoint (None without any checkpoint); also returns the errors of later ones.

        Raises:
            DamagedCheckpointError: all are damaged; the error names the last.
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
        """Saves the state after `step` steps; then removes checkpoints that are no longer kept.

        Raises:
            RunError: the checkpoint cannot be written.
            UserError: the folder is a link to a folder with other files.
        """
        self.check_link()
        with contextlib.suppress(OSError):  # if the folder is missing, saving reports it
            self.folder.mkdir(exist_ok=True)
        save_checkpoint(self.path(step), arrays, {**record, "best": best})
        if best:
            self._mark_best(step)
        for old in self.steps()[:-KEPT]:
            self.path(old).unlink(missing_ok=True)

    def check_link(self) -> None:
        """Raises UserError when the folder is a link to a folder that holds files but no checkpoints.

        Users may link it to another disk; in a folder with other files, saving might replace these.
        """
        if os.path.islink(self.folder) and self.folder.is_dir() and not self.steps() and any(self.folder.iterdir()):
            raise UserError(
                f"{self.folder} is a link to a folder that holds other files: link it to an empty one, or remove the "
                "link."
            )

    def complete(self, last: Checkpoint) -> None:
        """Finishes what a killed process began: removes unfinished files; marks the last checkpoint if it is best."""
        for unfinished in self.folder.glob("*.unfinished"):
            unfinished.unlink(missing_ok=True)
        if last.record.get("best") is True and not (self.best.exists() and self.best.samefile(last.path)):
            self._mark_best(int(last.path.stem.removeprefix("step-")))

    def bytes(self) -> int:
        """The bytes of disk space that the checkpoints take."""
        try:
            files = [path.stat() for path in self.folder.glob("*.npz")]
        except OSError:  # an impossible folder: writing there will report why
            return 0
        return sum({each.st_ino: each.st_size for each in files}.values())

    def _mark_best(self, step: int) -> None:
        with _complete_file(self.best) as unfinished:
            try:
                os.link(self.path(step), unfinished)
            except OSError:  # a file system without hard links
                with open(self.path(step), "rb") as saved, open_new(unfinished) as copy:
                    shutil.copyfileobj(saved, copy)
                    copy.flush()
                    os.fsync(copy.fileno())


@contextlib.contextmanager
def _complete_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path, renamed to `path` if the block succeeds, and removed if it fails."""
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
            f"the checkpoint {path} could not be written ({error.strerror}); make room or fix the folder's "
            "permissions, then continue with --resume."
        ) from error
