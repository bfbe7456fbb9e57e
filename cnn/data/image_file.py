"""From an image file of any kind and size to a square of RGB pixels."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

DECODER = 1
"""To be raised when other pixels are made of the same files, so that what is prepared already is prepared again."""

MINIMUM_SIDE = 8
"""Pixels that both sides of an image must have."""

# Decoding more than so many million pixels may take more memory than there is.
_MILLIONS = 100

# Bytes; as many pixels take less, whatever their kind. Files are read into memory whole.
_LARGEST_FILE = 1 << 30

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
"""Files with other names are no images, in lower case."""

# Pillow knows many more, some of which start other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")

# What each pixel of 16 bits becomes; by a table, as computing would take many times the memory of a large image.
_EIGHT_BITS = [(value * 255 + 0x7FFF) // 0xFFFF for value in range(0x10000)]

_ORIENTATION = 0x112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class DamagedImageError(Exception):
    """An image file is of no use; the text says why in a few words, without naming the file."""


def decode_image(path: Path, size: int) -> np.ndarray:
    """Reads an image, its central square scaled to `size` with antialiasing; smaller images are enlarged.

    The orientation that a camera noted is applied; grey, palette and CMYK become RGB, 16 bits become 8; what is
    transparent becomes white; of an animation the first frame is taken.

    Args:
        path: of a JPEG, PNG, BMP, GIF, WebP, TIFF, PPM or PGM file, whatever its name says.
        size: pixels of each side.

    Returns:
        uint8 (size, size, 3).

    Raises:
        DamagedImageError: it is no image, is cut off, is smaller than 8 pixels, or has over 100 million of them.
    """
    return decode_content(read_image_file(path), size)


def read_image_file(path: Path) -> bytes:
    """What the file holds, read once so that the image and its digest are of the same bytes.

    Raises:
        DamagedImageError: it is no file, cannot be read, or is too large for an image.
    """
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
            raise DamagedImageError("no file")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > _LARGEST_FILE:
                raise DamagedImageError(f"more than {_LARGEST_FILE:,} bytes")
            return file.read()
    except OSError as error:
        raise DamagedImageError(f"cannot be decoded: {error.strerror}") from error


def decode_content(content: bytes, size: int) -> np.ndarray:
    """Decodes what an image file holds; arguments, result and errors are as of `decode_image`."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            _check_size(*image.size)
            _skip_detail(image, size)
            image.load()
            return np.asarray(_upright(_scaled(_to_rgb(image), size), image))
    except (DamagedImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise DamagedImageError(f"more than {_MILLIONS} million pixels") from None
    except UnidentifiedImageError:
        raise DamagedImageError("no image of a known kind") from None
    except Exception as error:  # Pillow has no common class for what damaged files make it raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or repr(error)
        raise DamagedImageError(f"cannot be decoded: {' '.join(reason.split())}") from error


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MINIMUM_SIDE:
        raise DamagedImageError(f"{width}x{height} pixels, less than {MINIMUM_SIDE} on a side")
    if width * height > _MILLIONS * 1_000_000:
        raise DamagedImageError(f"{width}x{height} pixels, more than {_MILLIONS} million")


def _skip_detail(image: Image.Image, size: int) -> None:
    """Lets a JPEG be decoded at a half, a quarter or an eighth, but at no less than twice the size wanted."""
    width, height = image.size
    ratio = 2 * size / min(width, height)
    if ratio < 1:
        image.draft(None, (int(width * ratio), int(height * ratio)))  # None: colours as they are


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise DamagedImageError("pixels that are no whole numbers")
    if image.mode.startswith("I"):
        whole = image if image.mode == "I" else image.convert("I")
        darkest, brightest = whole.getextrema()
        if darkest < 0 or brightest > 0xFFFF:  # type: ignore[operator]  # numbers, as there is one channel
            raise DamagedImageError("pixels of more than 16 bits")
        whole = whole.point(_EIGHT_BITS, "L")  # under the same name, which frees the wide one
        return whole.convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return image.convert("RGB")


def _scaled(image: Image.Image, size: int) -> Image.Image:
    """The central square; it is cut out in the same step, so that a very long image takes no more memory."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def _upright(square: Image.Image, original: Image.Image) -> Image.Image:
    try:
        orientation = original.getexif().get(_ORIENTATION)
    except Exception:  # of a damaged note beside undamaged pixels
        return square
    return square.transpose(_TURNS[orientation]) if orientation in _TURNS else square
