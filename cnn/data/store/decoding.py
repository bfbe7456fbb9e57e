"""Decoding of image files into the arrays of a data set, by one process per available core."""

import dataclasses
import os
from collections.abc import Generator, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from cnn.cpu_quota import worker_count
from cnn.data.folders.listing import shown
from cnn.data.images.decoding_pool import MAX_WITHOUT_POOL, decoding_pool
from cnn.data.images.image_file import DamagedImageError, decode_opened, open_image
from cnn.data.jpeg_record import decode, encode
from cnn.data.store.source_record import digest, file_digest
from cnn.errors import RunError

if TYPE_CHECKING:
    from concurrent.futures import Future

# Chunks per process that are being decoded or wait for it.
_CHUNKS_AHEAD = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
    """Consecutive images of a part, and their place in an array's file."""

    part: str
    """train or test."""

    start: int
    """Position of the first image in the part."""

    paths: list[str]
    times: list[int]
    """Change time of each file, from `settled` before any was read."""

    size: int
    """Side of a stored image in pixels."""

    file: Path
    """The file to write to."""

    offset: int | None
    """Bytes before the first image in a file of raw pixels; None if the file gets JPEG records of just these images."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoded:
    """Results for a chunk whose images have been written to the disk."""

    part: str
    start: int
    stop: int
    """Position after the last image."""

    sums: list[int]
    """Sum of the pixels of each channel."""

    squares: list[int]
    """Sum of the squared pixels of each channel."""

    damaged: list[tuple[int, str]]
    """Position in the part, and reason, of each image that cannot be used; it is stored as zeros, or not at all."""

    times: list[int]
    """Change time of each file, copied from the chunk."""

    digests: list[str]
    """Hexadecimal digest of each file's content as it was read."""

    lengths: list[int] = dataclasses.field(default_factory=list)
    """Bytes of each image's JPEG record, 0 for damaged images; empty if raw pixels are stored."""


def decode_chunks(chunks: Iterator[Chunk]) -> Generator[Decoded, None, None]:
    """Decodes chunks, writes them to the disk and yields each one once it is written, in any order.

    A chunk is taken from the iterator shortly before it is decoded. The worker processes end with this generator,
    however it ends, even if this process is killed.

    Raises:
        OSError: a file cannot be written.
        RunError: a worker process was killed, or memory is insufficient for an image.
    """
    first: list[Chunk] = []
    cores, images = worker_count(), 0
    for chunk in chunks:
        first.append(chunk)
        images += len(chunk.paths)
        if len(first) >= cores and images > MAX_WITHOUT_POOL:
            break
    if images <= MAX_WITHOUT_POOL:
        yield from map(_decode_chunk, first)
        return
    yield from _decode_in_parallel(chain(first, chunks), min(cores, len(first)))


def _decode_in_parallel(chunks: Iterator[Chunk], processes: int) -> Generator[Decoded, None, None]:
    from concurrent.futures import FIRST_COMPLETED, wait  # only here: data sets that are already prepared do without

    pending: set[Future[Decoded]] = set()
    with decoding_pool(processes, "start again, which resumes the preparation") as pool:
        while True:
            coming = islice(chunks, _CHUNKS_AHEAD * processes - len(pending))
            pending.update(pool.submit(_decode_chunk, chunk) for chunk in coming)
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def _decode_chunk(chunk: Chunk) -> Decoded:
    images = np.zeros((len(chunk.paths), chunk.size, chunk.size, 3), np.uint8)
    damaged: list[tuple[int, str]] = []
    digests: list[str] = []
    for position, path in enumerate(chunk.paths):
        try:
            with open_image(Path(path)) as file:
                digests.append(digest(file).hex())
                images[position] = decode_opened(file, chunk.size)
        except DamagedImageError as error:
            damaged.append((chunk.start + position, str(error)))
            if len(digests) == position:  # it could not be opened
                digests.append(file_digest(path).hex())
        except MemoryError:  # not recorded as damaged, which would hold on machines with more memory, too
            raise RunError(
                f"there is not enough memory to decode {shown(path)}: free some, or make the image smaller, and start "
                "again, which resumes the preparation."
            ) from None
    lengths = _write(chunk, images, {position - chunk.start for position, _ in damaged})
    return Decoded(
        part=chunk.part,
        start=chunk.start,
        stop=chunk.start + len(images),
        sums=images.sum((0, 1, 2), dtype=np.int64).tolist(),
        squares=np.square(images, dtype=np.uint16).sum((0, 1, 2), dtype=np.int64).tolist(),
        damaged=damaged,
        times=chunk.times,
        digests=digests,
        lengths=lengths,
    )


def _write(chunk: Chunk, images: np.ndarray, damaged: set[int]) -> list[int]:
    """Writes a chunk's images, as raw pixels or as JPEG; returns the lengths of the JPEG records.

    JPEG changes the pixels: `images` then has those that its records have.
    """
    if chunk.offset is not None:
        with open(chunk.file, "r+b") as file:
            file.seek(chunk.offset)
            file.write(images.data)
            _sync_data(file)
        return []
    records = [b"" if position in damaged else encode(image) for position, image in enumerate(images)]
    for record, image in zip(records, images, strict=True):
        if record:
            decode(record, image)
    with open(chunk.file, "wb") as file:
        file.writelines(records)
        _sync_data(file)
    return [len(record) for record in records]


def _sync_data(file: BinaryIO) -> None:
    file.flush()
    os.fdatasync(file.fileno())
