"""Image files of no data set, made into what the images of a data set are."""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cnn.data.image_file import DamagedImageError, decode_image
from cnn.data.left_out import LeftOut
from cnn.data.listing import image_entries
from cnn.errors import UserError

_NAMED = 10

_logger = logging.getLogger(__name__)


def list_images(paths: Iterable[str]) -> list[Path]:
    """The files among `paths`, and those in the folders among them and in their folders, in the order of their names.

    Of a folder, what training would leave out is left out; a warning says what that is, unless it is hidden. Links are
    followed. UserError if a folder cannot be read, or has no images.
    """
    found: list[Path] = []
    left_out = LeftOut()
    for path in map(Path, paths):
        if not os.path.isdir(path):
            found.append(path)
            continue
        own = LeftOut()
        inside = sorted(inner for _, inner in image_entries(path, "", own))
        if not inside:
            beside = f" but {own}" if str(own) else ""
            raise UserError(f"{printable(path)} holds no image files{beside}: name files, or a folder of them.")
        found += [path / inner for inner in inside]
        left_out += own
    if str(left_out):
        _logger.warning("warning: not used: %s", left_out)
    return found


def read_images(paths: Sequence[Path], shape: tuple[int, int, int]) -> np.ndarray:
    """Reads images as those of a data set are that is stored in this shape.

    Args:
        paths: of the files.
        shape: height, width and channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 (images, height, width, channels).

    Raises:
        UserError: files that are no images, which are named; or stored images that are not square.
    """
    height, width, channels = shape
    if height != width:
        raise UserError(f"the network's images have {height}x{width} pixels: only squares are made of image files.")
    images = np.zeros((len(paths), *shape), np.uint8)
    damaged = []
    for position, path in enumerate(paths):
        try:
            pixels = decode_image(path, height)
        except (DamagedImageError, OSError) as error:  # the latter: of a name that is too long, say
            damaged.append(f"{printable(path)} ({error})")
            continue
        images[position] = pixels if channels == 3 else np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    if damaged:
        more = f", and {len(damaged) - _NAMED:,} more" if len(damaged) > _NAMED else ""
        raise UserError(f"no image, or a damaged one: {', '.join(damaged[:_NAMED])}{more}; leave it out.")
    return images


def printable(name: str | Path) -> str:
    """A file's name as text; the bytes that are none as \\x and two digits."""
    return os.fsencode(name).decode(errors="backslashreplace")
