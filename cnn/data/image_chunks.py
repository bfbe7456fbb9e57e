"""Reading any number of image files a few at a time, by all cores, while what was read is used."""

from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from cnn.data.decoding import worker_count
from cnn.data.decoding_pool import WORTH_NO_POOL, decoding_pool
from cnn.data.image_file import DamagedImageError, decode_image
from cnn.errors import UserError

if TYPE_CHECKING:
    from concurrent.futures import Future

# Chunks that are decoded, or wait to be used, for each process.
_AHEAD = 2


class ImageChunk(NamedTuple):
    """Some successive files."""

    paths: list[str]
    """Of those that are images."""

    images: np.ndarray
    """uint8 (paths, height, width, channels)."""

    damaged: list[tuple[str, str]]
    """Path and reason of those that are not."""


def read_images(paths: Sequence[str], shape: tuple[int, int, int], at_once: int) -> Generator[ImageChunk, None, None]:
    """Reads images as those of a data set are that is stored in this shape; gives them in the order of `paths`.

    What it holds at any time is a few chunks for each core. From the first chunk on, later ones are decoded by other
    processes before they are asked for; these are gone when this ends.

    Args:
        paths: of the files.
        shape: height, width and channels: 1 for grey, 3 for RGB.
        at_once: files of a chunk.

    Raises:
        UserError: stored images are not square.
        RunError: one of the processes was killed.
    """
    height, width, _ = shape
    if height != width:
        raise UserError(f"the network's images have {height}x{width} pixels: only squares are made of image files.")
    chunks = (paths[start : start + at_once] for start in range(0, len(paths), at_once))
    if len(paths) <= WORTH_NO_POOL:
        yield from (_read_chunk(chunk, shape) for chunk in chunks)
        return
    processes = min(worker_count(), -(-len(paths) // at_once))
    coming: deque[Future[ImageChunk]] = deque()
    with decoding_pool(processes, "start again") as pool:
        for chunk in chunks:
            coming.append(pool.submit(_read_chunk, chunk, shape))
            if len(coming) > _AHEAD * processes:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _read_chunk(paths: Sequence[str], shape: tuple[int, int, int]) -> ImageChunk:
    images = np.empty((len(paths), *shape), np.uint8)
    sound: list[str] = []
    damaged: list[tuple[str, str]] = []
    for path in paths:
        try:
            pixels = decode_image(Path(path), shape[0])
        except DamagedImageError as error:
            damaged.append((path, str(error)))
        except MemoryError:
            damaged.append((path, "decoding it takes more memory than is free"))
        else:
            grey = shape[2] == 1
            images[len(sound)] = np.asarray(Image.fromarray(pixels).convert("L"))[..., None] if grey else pixels
            sound.append(path)
    return ImageChunk(sound, images[: len(sound)], damaged)
