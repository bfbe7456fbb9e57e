"""Decoding many image files at once, by as many processes as this one may use cores."""

import dataclasses
import os
import signal
import threading
from collections.abc import Generator
from pathlib import Path

import numpy as np

from cnn.cpu_quota import cpu_quota
from cnn.data.image_file import DamagedImageError, decode_opened, open_image
from cnn.data.listing import shown
from cnn.data.source_record import digest, file_digest
from cnn.errors import RunError

# Images that are decoded sooner than other processes are started.
_WORTH_NO_POOL = 64


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
    if sum(len(chunk.paths) for chunk in chunks) <= _WORTH_NO_POOL:
        yield from map(_decode_chunk, chunks)
        return
    yield from _decode_by_processes(chunks)


def _decode_by_processes(chunks: list[Chunk]) -> Generator[Decoded, None, None]:
    import multiprocessing  # only here: what is prepared already needs none
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    # Not forked: TensorFlow and MPI, which may run here, do not survive that.
    pool = ProcessPoolExecutor(
        min(worker_count(), len(chunks)), multiprocessing.get_context("spawn"), initializer=_begin
    )
    try:
        futures = [pool.submit(_decode_chunk, chunk) for chunk in chunks]
        for future in as_completed(futures):
            yield future.result()
    except (BrokenProcessPool, MemoryError):
        raise RunError(
            "a process that decodes images was killed or had too little memory: make some free and start again, "
            "which goes on with what is done."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A worker ends with its parent, and not by the terminal's Ctrl-C before the parent has seen that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


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
