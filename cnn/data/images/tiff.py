"""Checks TIFF files for damage that Pillow's decoder ignores."""

import zlib
from typing import BinaryIO

import simplejpeg
from PIL import Image

# Tag numbers.
_SUBFILE, _COMPRESSION, _PHOTOMETRIC, _JPEG_TABLES = 254, 259, 262, 347
_PLACES = ((273, 279), (324, 325))  # offsets and lengths of strips, of tiles

_JPEG, _DEFLATE = 7, (8, 32946)
_MAX_OUTPUT = 1 << 20


def check_tiff(file: BinaryIO, image: Image.Image) -> None:
    """Verifies the checksums in a TIFF file's first page, or decodes its JPEG strips or tiles strictly.

    Args:
        file: the opened image file.
        image: the image, opened by Pillow but not decoded.

    Raises:
        ValueError: the page is damaged, or is only a preview.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    if tags.get(_SUBFILE, 0) & 1:
        raise ValueError("its first page is only a preview, as in a camera's raw file: save it as JPEG")
    compression = tags.get(_COMPRESSION)
    if compression != _JPEG and compression not in _DEFLATE:
        return
    position = file.tell()
    for offsets, lengths in _PLACES:
        for offset, length in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False):
            file.seek(offset)
            piece = file.read(length)
            if compression == _JPEG:
                _check_jpeg(tags.get(_JPEG_TABLES, b"\xff\xd8\xff\xd9")[:-2] + piece[2:])
            else:
                _check_deflated(piece)
    file.seek(position)


def white_is_zero(image: Image.Image) -> bool:
    """Whether 0 means white in a 16-bit TIFF, whose values Pillow does not invert."""
    return getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0


def _check_jpeg(content: bytes) -> None:
    simplejpeg.decode_jpeg(content, min_width=1, min_height=1)  # at an eighth: entropy decoding finds the faults


def _check_deflated(piece: bytes) -> None:
    unpacking = zlib.decompressobj()
    while not unpacking.eof:
        if not unpacking.decompress(piece, _MAX_OUTPUT) and not unpacking.eof:
            raise ValueError("its compressed data are truncated")
        piece = unpacking.unconsumed_tail
