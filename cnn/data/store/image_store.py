"""Preparation of a data set of image files: in parallel, and in chunks, so that it can be resumed."""

import contextlib
import dataclasses
import functools
import json
import logging
import os
import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from cnn.data.dataset import Dataset
from cnn.data.folders.listing import shown
from cnn.data.images.image_file import DECODER
from cnn.data.jpeg_record import FORM
from cnn.data.source import ImageFile, ImageIndex
from cnn.data.store.cache_folder import explained
from cnn.data.store.decoding import Chunk, Decoded
from cnn.data.store.equal_images import EqualImages
from cnn.data.store.preparation_progress import PreparationProgress
from cnn.data.store.seen_times import NEVER
from cnn.data.store.shared_chunks import SharedChunks
from cnn.data.store.source_record import SourceFiles, file_digest, settled, write_record
from cnn.data.store.store import RECORD, open_or_prepare
from cnn.data.store.store_files import folder_of, mean_and_deviation, sync, sync_folder, write_array, write_manifest
from cnn.data.store.unfinished_images import JpegChunks, RawImages, UnfinishedImages
from cnn.errors import UserError
from cnn.from_json import from_json, parse_json

_PARTS = ("train", "test")

# Maximum images and bytes of a chunk; a preparation that is killed loses at most one chunk per process.
_CHUNK_IMAGES = 128
_CHUNK_BYTES = 32 << 20

# The number of ImageFile's first fields that identify a store: all but the change time, which differs between machines.
_KEY_FIELDS = 5

_DAMAGED = "damaged.json"
_MAX_LISTED = 10

_logger = logging.getLogger(__name__)


def open_image_store(
    name: str,
    folder: Path,
    index: ImageIndex,
    size: int,
    *,
    jpeg: bool = False,
    skip_damaged: bool,
    progress: PreparationProgress,
    verify: bool = False,
) -> Dataset:
    """Opens the store of a data set of image files, after preparing it if needed.

    An interrupted preparation is resumed as long as no source file has changed.

    Args:
        name: name of the data set.
        folder: folder of the image files.
        index: image files of the data set.
        size: side of the stored images in pixels.
        jpeg: whether images are stored as JPEG, in a ninth of the space; otherwise their pixels are.
        skip_damaged: whether damaged images are left out with a warning; otherwise they are an error.
        progress: display of progress; it receives the index's notes, and prints them if a preparation takes place.
        verify: whether the content of all image files, and of the store, is compared with their checksums.

    Returns:
        The data set; its arrays are read-only memory maps, or its images `JpegImages`.

    Raises:
        UserError: images are damaged, or all training images of a class are; the cache folder cannot be used.
        RunError: a worker process was killed.
    """
    progress.notes = index.notes
    preparation = _Preparation(
        name=name, folder=folder, index=index, size=size, jpeg=jpeg, skip_damaged=skip_damaged, progress=progress
    )
    origin = [str(folder.resolve()), size, *([FORM] if jpeg else [])]
    parts = ([file[:_KEY_FIELDS] for file in part] for part in (index.train, index.test, index.validation))
    content = [DECODER, index.class_names, *parts, index.division]
    sources = preparation.sources()
    dataset = open_or_prepare(name, origin, content, sources, preparation.run, verify=verify, help=preparation.help)
    if not skip_damaged:
        refuse_left_out(dataset, folder)
    return dataset


def refuse_left_out(dataset: Dataset, folder: Path) -> None:
    """Raises UserError if damaged images in `folder` were left out when the data set was prepared."""
    damaged = folder_of(dataset) / _DAMAGED
    if damaged.exists():
        raise _refusal(folder, _read_damaged(damaged))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Preparation:
    """Prepares a store in its folder."""

    name: str
    folder: Path
    index: ImageIndex
    size: int
    jpeg: bool
    skip_damaged: bool
    progress: PreparationProgress
    _helped: list[SharedChunks] = dataclasses.field(default_factory=list)
    """The chunks of the preparation that `help` is called for; none before its first call."""

    @functools.cached_property
    def _files(self) -> dict[str, list[ImageFile]]:
        """Files of each part; the last training images are the data set's own validation part, if it has one."""
        return {"train": [*self.index.train, *self.index.validation], "test": self.index.test}

    def sources(self) -> SourceFiles:
        """All image files, in the order of the parts."""
        files = [file for part in _PARTS for file in self._files[part]]
        return SourceFiles(
            folder=self.folder, paths=[file.path for file in files], times=[file.change_time for file in files]
        )

    def run(self, unfinished: Path) -> None:
        """Resumes the preparation in the folder, or starts one; other processes may `help`."""
        self.progress.print_notes()
        with explained(unfinished.parent):
            images = self._images(unfinished)
            if not ((unfinished / RECORD).is_dir() and all(each.can_resume() for each in images.values())):
                _begin(unfinished, images)
            times = self._times()
            chunks = self._shared(unfinished, images, times)
            self.progress.start(self.name, sum(len(self._files[part]) for part in _PARTS), chunks.recall())
            try:
                for wait in (False, True):
                    self._decode(chunks, wait=wait)
            finally:
                self.progress.close()
            decoded = chunks.all_decoded()
            self._finish(unfinished, images, decoded)
            write_record(unfinished, _digests(decoded), [*chain(*times.values())])

    def help(self, unfinished: Path) -> None:
        """Decodes images for another process, which runs the preparation, until none is left that nobody works on."""
        if not (unfinished / RECORD).is_dir():  # it has not begun, or is complete
            return
        self.progress.helps()
        with contextlib.suppress(OSError):  # the other process will find that, too, or has just completed it
            if not self._helped:
                chunks = self._shared(unfinished, self._images(unfinished), self._times())
                chunks.recall()
                self._helped.append(chunks)
            self._decode(self._helped[0], wait=False)

    def _times(self) -> dict[str, list[int]]:
        return {part: settled([file.change_time for file in self._files[part]]) for part in _PARTS}

    def _shared(
        self, unfinished: Path, images: dict[str, UnfinishedImages], times: dict[str, list[int]]
    ) -> SharedChunks:
        return SharedChunks(
            unfinished,
            self._plan(images, times),
            lambda decoded, chunk: images[chunk.part].holds(decoded) and _is_valid(decoded, chunk),
        )

    def _decode(self, chunks: SharedChunks, *, wait: bool) -> None:
        with contextlib.closing(chunks.decode(wait=wait)) as results:
            for each in results:
                self.progress.advance(each.stop - each.start)

    def _images(self, unfinished: Path) -> dict[str, UnfinishedImages]:
        if self.jpeg:
            return {part: JpegChunks(unfinished, part) for part in _PARTS}
        return {part: RawImages(unfinished, part, len(self._files[part]), self.size) for part in _PARTS}

    def _plan(self, images: dict[str, UnfinishedImages], times: dict[str, list[int]]) -> list[Chunk]:
        step = max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // (3 * self.size**2)))
        chunks = []
        for part in _PARTS:
            paths = [os.path.join(self.folder, file.path) for file in self._files[part]]
            for start in range(0, len(paths), step):
                path, offset = images[part].place(start)
                chunk = Chunk(
                    part=part,
                    start=start,
                    paths=paths[start : start + step],
                    times=times[part][start : start + step],
                    size=self.size,
                    file=path,
                    offset=offset,
                )
                chunks.append(chunk)
        return chunks

    def _finish(self, unfinished: Path, images: dict[str, UnfinishedImages], decoded: list[Decoded]) -> None:
        damaged: dict[str, dict[int, str]] = {part: {} for part in _PARTS}
        for each in decoded:
            damaged[each.part].update(each.damaged)
        unusable = [
            (self._files[part][position].path, reason)
            for part in _PARTS
            for position, reason in sorted(damaged[part].items())
        ]
        if unusable and not self.skip_damaged:
            raise _refusal(self.folder, unusable)
        kept = {
            part: np.setdiff1d(np.arange(len(self._files[part])), np.array([*damaged[part]], np.int64))
            for part in _PARTS
        }
        labels = {part: self._labels(part)[kept[part]] for part in _PARTS}
        validation = int(np.sum(kept["train"] >= len(self.index.train)))
        if unusable:
            self._check_remaining(labels, validation, unusable)
            with open(unfinished / _DAMAGED, "w", encoding="ascii") as text:
                json.dump(unusable, text)
                sync(text)
            _logger.warning("%s", left_out_note(self.folder, unusable))
        for note in EqualImages(self._digested(decoded)).notes():
            _logger.warning("warning: %s", note)
        for part in _PARTS:
            images[part].finish([each for each in decoded if each.part == part], kept[part])
            write_array(unfinished, f"{part}_labels", labels[part])
        if self.index.division == "by name":
            keys = np.array([file.key for file in self._files["train"]], np.uint64)
            write_array(unfinished, "train_keys", keys[kept["train"]])
        statistics = self._statistics(decoded, len(kept["train"]))
        write_manifest(unfinished, self.name, self.index.class_names, statistics, validation)

    def _digested(self, decoded: list[Decoded]) -> Iterator[tuple[ImageFile, str, str]]:
        """The undamaged images in order, each with its part and digest."""
        for each in decoded:
            damaged = {position for position, _ in each.damaged}
            for position, digest in enumerate(each.digests, each.start):
                if position not in damaged:
                    validation = each.part == "train" and position >= len(self.index.train)
                    yield self._files[each.part][position], "validation" if validation else each.part, digest

    def _labels(self, part: str) -> np.ndarray:
        return np.array([file.label for file in self._files[part]], np.int32)

    def _check_remaining(self, labels: dict[str, np.ndarray], validation: int, damaged: list[tuple[str, str]]) -> None:
        lost_labels = np.setdiff1d(self._labels("train"), labels["train"][: len(labels["train"]) - validation])
        if len(lost_labels):
            images = f"all training images of the class '{self.index.class_names[lost_labels[0]]}'"
        elif self.index.validation and not validation:
            images = "all validation images"
        elif not len(labels["test"]):
            images = "all test images"
        else:
            return
        raise UserError(f"{images} in {self.folder} are damaged: replace them ({_listing(self.folder, damaged)}).")

    def _statistics(self, decoded: list[Decoded], images: int) -> tuple[list[float], list[float]]:
        train = [each for each in decoded if each.part == "train"]
        total = images * self.size**2
        sums, squares = (
            [sum(column) for column in zip(*(getattr(each, name) for each in train), strict=True)]
            for name in ("sums", "squares")
        )
        channels = [mean_and_deviation(total, *both) for both in zip(sums, squares, strict=True)]
        return [mean for mean, _ in channels], [deviation for _, deviation in channels]


def _begin(unfinished: Path, images: dict[str, UnfinishedImages]) -> None:
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for each in images.values():
        each.begin()
    (unfinished / RECORD).mkdir()
    sync_folder(unfinished)


def _is_valid(decoded: Decoded, chunk: Chunk) -> bool:
    """Whether the chunk's files are unchanged since they were decoded."""
    return all(
        NEVER != then == now or file_digest(path).hex() == digest
        for path, then, now, digest in zip(chunk.paths, decoded.times, chunk.times, decoded.digests, strict=True)
    )


def _digests(decoded: list[Decoded]) -> list[bytes]:
    """Digests of all files, in the order of the chunks."""
    return [bytes.fromhex(digest) for each in decoded for digest in each.digests]


def _read_damaged(path: Path) -> list[tuple[str, str]]:
    """Path and reason of each image that was left out."""
    try:
        return from_json(list[tuple[str, str]], parse_json(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): remove {path.parent} to have it prepared again.") from error


def left_out_note(folder: Path, damaged: list[tuple[str, str]]) -> str:
    """A sentence on damaged image files that are not used.

    Args:
        folder: folder of the image files.
        damaged: path, relative to the folder, and reason of each.
    """
    return f"{_counted(len(damaged))} left out: {_listing(folder, damaged)}"


def _refusal(folder: Path, damaged: list[tuple[str, str]]) -> UserError:
    return UserError(
        f"{_counted(len(damaged))} cannot be used: {_listing(folder, damaged)}; replace or remove all damaged files, "
        "or leave them out by --damaged skip."
    )


def _counted(files: int) -> str:
    return "1 image file" if files == 1 else f"{files:,} image files"


def _listing(folder: Path, damaged: list[tuple[str, str]]) -> str:
    names = [f"{shown(str(folder / path))} ({reason})" for path, reason in damaged[:_MAX_LISTED]]
    rest = [f"and {len(damaged) - _MAX_LISTED:,} more"] if len(damaged) > _MAX_LISTED else []
    return ", ".join([*names, *rest])
