"""Decoding of image files of any supported format and size to square RGB images."""

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import AvifImagePlugin, Image, ImageCms, ImageOps, UnidentifiedImageError

from cnn.data.images.colour_profile import srgb_transform
from cnn.data.images.file_kind import supported_format, unsupported_kind
from cnn.data.images.jpeg import jpeg_pixels
from cnn.data.images.png import SIGNATURE, png_content
from cnn.data.images.tiff import check_tiff, white_is_zero

DECODER = 2
"""Version of the decoded pixels: increase it when they change, so that prepared data sets are prepared again."""

MINIMUM_SIDE = 8
"""Minimum height and width of an image in pixels."""

# Maximum size of an image in million pixels: decoding a larger one may need more memory than there is.
_MAX_MEGAPIXELS = 100

EXTENSIONS = frozenset(
    f".{name}"
    for names in (
        "jpg jpeg jpe jfif mpo png apng bmp dib gif webp avif",
        "tif tiff jp2 j2k jpx jpf j2c jpc ppm pgm pbm pnm",
    )
    for name in names.split()
)
"""Suffixes of image files, in lower case; other files are ignored. The format is recognised by content alone."""

# Pillow supports many more, some of which start other programs or are recognised by file name only.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")

# One thread, as there is already a decoding process per core.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

# Bytes; a JPEG of permitted size has all its pixels within them. A video may follow the pixels.
_MAX_JPEG_BYTES = 1 << 30

# Maximum bytes of a file that is read into memory completely.
_MAX_IN_MEMORY = 64 << 20

_UNKNOWN = "not an image of a known format"

# Bytes at the beginning of a file that suffice to recognise any format.
_START = 4096

# 8-bit value of each 16-bit pixel; a table, as computing them would take many times the memory of a large image.
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
    """An image file cannot be used; the text is the reason in a few words, without the file's name."""


def decode_image(path: Path, size: int) -> np.ndarray:
    """Reads an image and scales its central square to `size`, with antialiasing; smaller images are enlarged.

    Pixels are converted as browsers do for display: the Exif orientation and an embedded colour profile are applied;
    grey, palette and CMYK become RGB; 16 bits become 8; transparent pixels become white; of an animation, the first
    frame is read.

    Args:
        path: JPEG, PNG, BMP, GIF, WebP, AVIF, TIFF, JPEG 2000, PPM, PGM or PBM file, whatever its suffix.
        size: side of the resulting square in pixels.

    Returns:
        uint8 (size, size, 3).

    Raises:
        DamagedImageError: the file is not an image, its decoder had to guess some of the pixels, a side is shorter than
            8 pixels, or it has over 100 million pixels.
    """
    with open_image(path) as file:
        return decode_opened(file, size)


def open_image(path: Path) -> BinaryIO:
    """Opens an image file for `decode_opened`; raises DamagedImageError if it cannot be opened.

    Unless the file is very large, it is read only once, so that its digest and its pixels are of the same bytes.
    """
    with _damaged_if_failing():
        if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
            raise DamagedImageError("not a file")
        file = open(path, "rb")  # noqa: SIM115  # the caller closes it
        if os.fstat(file.fileno()).st_size > _MAX_IN_MEMORY:
            return file
        with file:
            return io.BytesIO(file.read())


def decode_opened(file: BinaryIO, size: int) -> np.ndarray:
    """Decodes a file from `open_image`, otherwise like `decode_image`."""
    with _damaged_if_failing(), warnings.catch_warnings(action="ignore"):
        file.seek(0)
        return _decoded(file, size)


@contextlib.contextmanager
def _damaged_if_failing() -> Iterator[None]:
    """Turns any exception raised inside, except MemoryError, into a DamagedImageError."""
    try:
        yield
    except (DamagedImageError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise DamagedImageError(f"more than {_MAX_MEGAPIXELS} million pixels") from None
    except Exception as error:  # Pillow's errors on damaged files have no common class
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or repr(error)
        raise DamagedImageError(f"cannot be decoded: {' '.join(reason.split())}") from error


def _decoded(file: BinaryIO, size: int) -> np.ndarray:
    start = file.read(_START)
    file.seek(0)
    if start.startswith(b"\xff\xd8\xff"):
        content = file.read(_MAX_JPEG_BYTES)
        with _opened(io.BytesIO(content)) as image:
            _skip_detail(image, size)
            return _square(jpeg_pixels(content, image), image, size)
    profile = None
    if start.startswith(SIGNATURE):
        file, profile = png_content(file)
    elif kind := unsupported_kind(start):
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
        name = supported_format(file.read(_START))
        reason = f"{name} with a damaged header, or of an unsupported variant" if name else _UNKNOWN
        raise DamagedImageError(reason) from None
    _check_size(*image.size)
    return image


def _square(pixels: Image.Image, original: Image.Image, size: int) -> np.ndarray:
    """Converts decoded pixels to the displayed square, by the original's colour profile and orientation."""
    transform, mode = _transform(original)
    square = central_square(pixels if mode == "CMYK" else _to_rgb(pixels), size)
    if transform:
        square = ImageCms.applyTransform(square.convert(mode), transform) or square
    return np.asarray(_upright(square, original))


def _transform(original: Image.Image) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """The transform by an image's colour profile, if it has one, and the mode of pixels that the transform needs."""
    profile = original.info.get("icc_profile")
    for mode in ("CMYK",) if original.mode == "CMYK" else ("RGB", "L"):
        if profile and (transform := srgb_transform(profile, mode)):
            return transform, mode
    return None, "RGB"


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MINIMUM_SIDE:
        raise DamagedImageError(f"{width}x{height} pixels, less than {MINIMUM_SIDE} on a side")
    if width * height > _MAX_MEGAPIXELS * 1_000_000:
        raise DamagedImageError(f"{width}x{height} pixels, more than {_MAX_MEGAPIXELS} million")


def _skip_detail(image: Image.Image, size: int) -> None:
    """Lets the decoder reduce a JPEG to 1/2, 1/4 or 1/8, but to no less than twice the required size."""
    width, height = image.size
    ratio = 2 * size / min(width, height)
    if ratio < 1:
        image.draft(None, (int(width * ratio), int(height * ratio)))  # None keeps the colour mode


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise DamagedImageError("floating-point pixels")
    if image.mode.startswith("I"):
        grey = image if image.mode == "I" else image.convert("I")
        darkest, brightest = grey.getextrema()
        if darkest < 0 or brightest > 0xFFFF:  # type: ignore[operator]  # numbers, as there is one channel
            raise DamagedImageError("pixels of more than 16 bits")
        grey = grey.point(_EIGHT_BITS, "L")  # the same variable, to free the 32-bit image
        return (ImageOps.invert(grey) if white_is_zero(image) else grey).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # convert always copies


def central_square(image: Image.Image, size: int) -> Image.Image:
    """Crops and scales the central square to `size` in one step, so that a very long image takes no more memory."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def _upright(square: Image.Image, original: Image.Image) -> Image.Image:
    try:
        orientation = original.getexif().get(_ORIENTATION)
    except Exception:  # the Exif data are damaged, the pixels are not
        return square
    return square.transpose(_TURNS[orientation]) if orientation in _TURNS else square
