"""Reading image files in chunks: while one chunk is used, all cores decode the next ones."""

from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from cnn.cpu_quota import worker_count
from cnn.data.images.decoding_pool import MAX_WITHOUT_POOL, decoding_pool
from cnn.data.images.image_file import DamagedImageError, decode_image
from cnn.errors import UserError

if TYPE_CHECKING:
    from concurrent.futures import Future

# Chunks per process that are being decoded or are waiting to be used.
_CHUNKS_AHEAD = 2


class ImageChunk(NamedTuple):
    """Some consecutive files."""

    paths: list[str]
    """Paths of the decoded images."""

    images: np.ndarray
    """uint8 (paths, height, width, channels)."""

    damaged: list[tuple[str, str]]
    """Path and reason of each file that could not be decoded."""


def read_images(paths: Sequence[str], shape: tuple[int, int, int], per_chunk: int) -> Generator[ImageChunk, None, None]:
    """Reads images into the shape of a data set's stored images; yields them in the order of `paths`.

    At any time, a few chunks per core are in memory. From the first chunk on, worker processes decode later ones before
    they are requested; the processes end with this generator.

    Args:
        paths: paths of the files.
        shape: height, width and channels of the result; one channel is grey, three are RGB.
        per_chunk: files per chunk.

    Raises:
        UserError: the shape is not square.
        RunError: a worker process was killed.
    """
    height, width, _ = shape
    if height != width:
        raise UserError(f"image files are only read as squares, not {height}x{width}: use a network for square images.")
    chunks = (paths[start : start + per_chunk] for start in range(0, len(paths), per_chunk))
    if len(paths) <= MAX_WITHOUT_POOL:
        yield from (_read_chunk(chunk, shape) for chunk in chunks)
        return
    processes = min(worker_count(), -(-len(paths) // per_chunk))
    pending: deque[Future[ImageChunk]] = deque()
    with decoding_pool(processes, "start again") as pool:
        for chunk in chunks:
            pending.append(pool.submit(_read_chunk, chunk, shape))
            if len(pending) > _CHUNKS_AHEAD * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _read_chunk(paths: Sequence[str], shape: tuple[int, int, int]) -> ImageChunk:
    images = np.empty((len(paths), *shape), np.uint8)
    decoded: list[str] = []
    damaged: list[tuple[str, str]] = []
    for path in paths:
        try:
            pixels = decode_image(Path(path), shape[0])
        except DamagedImageError as error:
            damaged.append((path, str(error)))
        except MemoryError:
            damaged.append((path, "decoding it needs more memory than is free"))
        else:
            grey = shape[2] == 1
            images[len(decoded)] = np.asarray(Image.fromarray(pixels).convert("L"))[..., None] if grey else pixels
            decoded.append(path)
    return ImageChunk(decoded, images[: len(decoded)], damaged)
