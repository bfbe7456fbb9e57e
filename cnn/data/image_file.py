"""From an image file of any kind and size to a square of RGB pixels."""

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import AvifImagePlugin, Image, ImageCms, ImageOps, UnidentifiedImageError

from cnn.data.colour_profile import srgb_transform
from cnn.data.file_kind import read_kind, unread_kind
from cnn.data.jpeg import jpeg_pixels
from cnn.data.png import SIGNATURE, png_content
from cnn.data.tiff import check_tiff, white_is_zero

DECODER = 2
"""To be raised when other pixels are made of the same files, so that what is prepared already is prepared again."""

MINIMUM_SIDE = 8
"""Pixels that both sides of an image must have."""

# Decoding more than so many million pixels may take more memory than there is.
_MILLIONS = 100

EXTENSIONS = frozenset(
    f".{name}"
    for names in (
        "jpg jpeg jpe jfif mpo png apng bmp dib gif webp avif",
        "tif tiff jp2 j2k jpx jpf j2c jpc ppm pgm pbm pnm",
    )
    for name in names.split()
)
"""Files with other names are not images; in lower case. Which kind it is, the content decides, not the name."""

# Pillow knows many more, some of which start other programs or are known by their name only.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")

# Each core has a process that decodes.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

# A JPEG that may be decoded has all its pixels before this; what follows them may be a film.
_LARGEST_JPEG = 1 << 30

# Bytes of a file that is read into memory at once.
_SMALL = 64 << 20

_UNKNOWN = "not an image of a known kind"

# Enough to tell any kind of file.
_START = 4096

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

    All is done as browsers do to show it: the orientation that a camera noted and an embedded colour profile are
    applied; grey, palette and CMYK become RGB, 16 bits become 8; what is transparent becomes white; of an animation
    the first frame is taken.

    Args:
        path: of a JPEG, PNG, BMP, GIF, WebP, AVIF, TIFF, JPEG 2000, PPM, PGM or PBM file, whatever its name says.
        size: pixels of each side.

    Returns:
        uint8 (size, size, 3).

    Raises:
        DamagedImageError: it is not an image, its decoder had to guess some of the pixels, it is smaller than 8
            pixels, or has over 100 million of them.
    """
    with open_image(path) as file:
        return decode_opened(file, size)


def open_image(path: Path) -> BinaryIO:
    """Opens an image file for `decode_opened`; raises DamagedImageError where that cannot be.

    Unless it is very large it is read, once, so that all that is made of it is made of the same bytes.
    """
    with _explained():
        if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
            raise DamagedImageError("not a file")
        file = open(path, "rb")  # noqa: SIM115  # which the caller closes
        if os.fstat(file.fileno()).st_size > _SMALL:
            return file
        with file:
            return io.BytesIO(file.read())


def decode_opened(file: BinaryIO, size: int) -> np.ndarray:
    """Decodes what `open_image` gave; the rest is as for `decode_image`."""
    with _explained(), warnings.catch_warnings(action="ignore"):
        file.seek(0)
        return _decoded(file, size)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Makes whatever the code inside raises a DamagedImageError."""
    try:
        yield
    except (DamagedImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise DamagedImageError(f"more than {_MILLIONS} million pixels") from None
    except Exception as error:  # Pillow has no common class for what damaged files make it raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or repr(error)
        raise DamagedImageError(f"cannot be decoded: {' '.join(reason.split())}") from error


def _decoded(file: BinaryIO, size: int) -> np.ndarray:
    start = file.read(_START)
    file.seek(0)
    if start.startswith(b"\xff\xd8\xff"):
        content = file.read(_LARGEST_JPEG)
        with _opened(io.BytesIO(content)) as image:
            _skip_detail(image, size)
            return _square(jpeg_pixels(content, image), image, size)
    profile = None
    if start.startswith(SIGNATURE):
        file, profile = png_content(file)
    elif kind := unread_kind(start):
        raise DamagedImageError(kind)
    with _opened(file) as image:
        if image.format == "TIFF":
            check_tiff(file, image)
        image.load()
        if profile:
            image.info["icc_profile"] = profile
        return _square(image, image, size)


def _opened(file: BinaryIO) -> Image.Image:
    try:
        image = Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        file.seek(0)
        kind = read_kind(file.read(_START))
        reason = f"{kind} with a damaged header, or of a variety that is not read" if kind else _UNKNOWN
        raise DamagedImageError(reason) from None
    _check_size(*image.size)
    return image


def _square(pixels: Image.Image, original: Image.Image, size: int) -> np.ndarray:
    """From decoded pixels, and what the file notes of them, to what is shown."""
    transform, mode = _transform(original)
    square = _scaled(pixels if mode == "CMYK" else _to_rgb(pixels), size)
    if transform:
        square = ImageCms.applyTransform(square.convert(mode), transform) or square
    return np.asarray(_upright(square, original))


def _transform(original: Image.Image) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """What applies an image's colour profile, and the mode that it is for."""
    profile = original.info.get("icc_profile")
    for mode in ("CMYK",) if original.mode == "CMYK" else ("RGB", "L"):
        if profile and (transform := srgb_transform(profile, mode)):
            return transform, mode
    return None, "RGB"


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
        raise DamagedImageError("pixels that are not whole numbers")
    if image.mode.startswith("I"):
        whole = image if image.mode == "I" else image.convert("I")
        darkest, brightest = whole.getextrema()
        if darkest < 0 or brightest > 0xFFFF:  # type: ignore[operator]  # numbers, as there is one channel
            raise DamagedImageError("pixels of more than 16 bits")
        whole = whole.point(_EIGHT_BITS, "L")  # under the same name, which frees the wide one
        return (ImageOps.invert(whole) if white_is_zero(image) else whole).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy


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
