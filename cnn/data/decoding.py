"""Decoding many image files at once, by as many processes as this one may use cores."""

import dataclasses
import os
from collections.abc import Generator
from pathlib import Path

import numpy as np

from cnn.cpu_quota import cpu_quota
from cnn.data.decoding_pool import WORTH_NO_POOL, decoding_pool
from cnn.data.image_file import DamagedImageError, decode_opened, open_image
from cnn.data.listing import shown
from cnn.data.source_record import digest, file_digest
from cnn.errors import RunError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
    """Successive images of a part, and where in an array's file they belong."""

    part: str
    """train or test."""

    start: int
    """Position in the part of the first one."""

    paths: list[str]
    times: list[int]
    """The change time of each, as `settled` gave it before any was read."""

    size: int
    """Pixels of a side of a stored image."""

    array: Path
    offset: int
    """Bytes before the first one in the array's file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoded:
    """What is known of a chunk whose images are on the disk."""

    part: str
    start: int
    stop: int
    """Position one past the last one."""

    sums: list[int]
    """Of the pixels of each channel."""

    squares: list[int]
    """The sums of their squares."""

    damaged: list[tuple[int, str]]
    """Position in the part, and the reason, of each image that cannot be used; it is stored as zeros."""

    times: list[int]
    """The change time of each file, as the chunk has it."""

    digests: list[str]
    """Of what was read of each, in hexadecimal."""


def worker_count() -> int:
    """The cores that this process may use, at most as many as a container's limit amounts to."""
    cores = len(os.sched_getaffinity(0))
    return min(cores, cpu_quota() or cores)


def decode_chunks(chunks: list[Chunk]) -> Generator[Decoded, None, None]:
    """Decodes chunks and writes them to the disk; gives each one when it is there, in no order.

    The processes are gone when this ends, whatever ends it, also if this process is killed.

    Raises:
        OSError: an array cannot be written.
        RunError: one of the processes was killed, or there is too little memory for an image.
    """
    if sum(len(chunk.paths) for chunk in chunks) <= WORTH_NO_POOL:
        yield from map(_decode_chunk, chunks)
        return
    yield from _decode_by_processes(chunks)


def _decode_by_processes(chunks: list[Chunk]) -> Generator[Decoded, None, None]:
    from concurrent.futures import as_completed  # only here: what is prepared already needs none

    with decoding_pool(min(worker_count(), len(chunks)), "start again, which goes on with what is done") as pool:
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
        except MemoryError:  # not damaged, which would be recorded, and be so on other machines too
            raise RunError(
                f"there is too little memory to decode {shown(path)}: make some free, or the image smaller, and start "
                "again, which goes on with what is done."
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
