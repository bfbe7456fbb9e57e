"""Decoding of image files into the arrays of a data set, by one process per available core."""

import dataclasses
import os
from collections.abc import Generator
from pathlib import Path

import numpy as np

from cnn.cpu_quota import cpu_quota
from cnn.data.decoding_pool import MAX_WITHOUT_POOL, decoding_pool
from cnn.data.image_file import DamagedImageError, decode_opened, open_image
from cnn.data.listing import shown
from cnn.data.source_record import digest, file_digest
from cnn.errors import RunError


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

    array: Path
    offset: int
    """Bytes before the first image in the array's file."""


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
    """Position in the part, and reason, of each image that cannot be used; it is stored as zeros."""

    times: list[int]
    """Change time of each file, copied from the chunk."""

    digests: list[str]
    """Hexadecimal digest of each file's content as it was read."""


def worker_count() -> int:
    """Number of cores that this process may use, within the container's CPU quota."""
    cores = len(os.sched_getaffinity(0))
    return min(cores, cpu_quota() or cores)


def decode_chunks(chunks: list[Chunk]) -> Generator[Decoded, None, None]:
    """Decodes chunks, writes them to the disk and yields each one once it is written, in any order.

    The worker processes end with this generator, however it ends, even if this process is killed.

    Raises:
        OSError: an array cannot be written.
        RunError: a worker process was killed, or memory is insufficient for an image.
    """
    if sum(len(chunk.paths) for chunk in chunks) <= MAX_WITHOUT_POOL:
        yield from map(_decode_chunk, chunks)
        return
    yield from _decode_in_parallel(chunks)


def _decode_in_parallel(chunks: list[Chunk]) -> Generator[Decoded, None, None]:
    from concurrent.futures import as_completed  # only here: data sets that are already prepared do without

    with decoding_pool(min(worker_count(), len(chunks)), "start again, which resumes the preparation") as pool:
        for future in as_completed([pool.submit(_decode_chunk, chunk) for chunk in chunks]):
            yield future.result()


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
    with open(chunk.array, "r+b") as file:
        file.seek(chunk.offset)
        file.write(images.data)
        file.flush()
        os.fdatasync(file.fileno())
    return Decoded(
        part=chunk.part,
        start=chunk.start,
        stop=chunk.start + len(images),
        sums=images.sum((0, 1, 2), dtype=np.int64).tolist(),
        squares=np.square(images, dtype=np.uint16).sum((0, 1, 2), dtype=np.int64).tolist(),
        damaged=damaged,
        times=chunk.times,
        digests=digests,
    )
