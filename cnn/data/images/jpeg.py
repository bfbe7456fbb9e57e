"""Decodes JPEG files strictly: no pixel is filled in by the decoder.

libjpeg fills in what is missing from a damaged file and only warns; Pillow drops the warning. simplejpeg uses the same
decoder, raises every warning as an error, and its pixels are identical to the bit.
"""

import re

import simplejpeg
from PIL import Image

# By Pillow's mode of a JPEG: simplejpeg's name for it, and the raw mode in which Pillow reads simplejpeg's result.
_LAYOUTS = {"L": ("GRAY", "L"), "RGB": ("RGB", "RGB"), "CMYK": ("CMYK", "CMYK;I")}

_JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
_ADOBE = b"Adobe"
_START, _COMMENT, _SCAN = b"\xff\xd8", 0xFE, 0xDA
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_SEQUENTIAL = {0xC0, 0xC1, 0xC9}

# simplejpeg's error for intact files that it cannot decode, as with 4:1:0. Pillow can, but does not report damage.
_UNSUPPORTED = "Could not determine subsampling"

_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")

# Bytes of padding at the end of a scan that may be in the decoder's buffer, which its warning does not count.
_UNCOUNTED = 8

# Decoding is repeated for each scan or restart interval that ends with padding.
_ATTEMPTS = 20


def jpeg_pixels(content: bytes, image: Image.Image) -> Image.Image:
    """Decodes a JPEG more strictly than Pillow.

    Wrong metadata, bytes between header segments or after the end, and padding of one repeated byte after a scan are
    accepted as harmless. Other extraneous bytes are refused: they show that damage made the decoder lose its position.

    Args:
        content: the file's bytes.
        image: the same file, opened by Pillow; the result has its size, which `draft` may have reduced.

    Returns:
        An image of the same mode and size.

    Raises:
        ValueError: the decoder had to guess; the text is its warning.
    """
    colours, raw = _LAYOUTS[image.mode]
    width, height = image.size
    stripped = False
    for _ in range(_ATTEMPTS):
        try:
            pixels = simplejpeg.decode_jpeg(content, colours, min_width=width, min_height=height)
            break
        except ValueError as error:
            if _UNSUPPORTED in str(error):
                image.load()
                return image
            cleaned = _without_padding(content, str(error)) if stripped else _strip_header(content)
            if cleaned is None:
                raise
            content, stripped = cleaned, True
    else:
        raise ValueError("it has too much padding")
    if pixels.shape[:2] != (height, width):
        raise ValueError("it states more than one size")
    return Image.frombuffer(image.mode, (width, height), pixels, "raw", raw, 0, 1)


def _strip_header(content: bytes) -> bytes | None:
    """Removes from the header what does not affect the pixels but may cause warnings; None if there is no scan.

    The decoder reports only its first warning: a harmless one would hide the others.
    """
    kept, at, sequential = [_START], 2, False
    while (at := content.find(b"\xff", at)) >= 0 and at + 4 <= len(content):
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0 or marker in _WITHOUT_LENGTH:
            at += 2
            continue
        end = at + 2 + max(2, int.from_bytes(content[at + 2 : at + 4], "big"))
        segment = content[at:end]
        if marker == _SCAN:
            # A sequential scan ignores its last three bytes, to which some cameras write other values.
            return b"".join([*kept, segment[:-3] + b"\0\x3f\0" if sequential else segment, content[end:]])
        kept.append(_needed(marker, segment))
        sequential = sequential or marker in _SEQUENTIAL
        at = end
    return None


def _needed(marker: int, segment: bytes) -> bytes:
    """The part of a header segment that the pixels' colours depend on."""
    if marker == 0xE0 and segment[4:9] == _JFIF[4:9]:
        return _JFIF
    if marker == 0xEE and segment[4:9] == _ADOBE and len(segment) >= 16:
        return segment if segment[15] <= 2 else segment[:15] + b"\1" + segment[16:]
    return b"" if 0xE0 <= marker <= 0xEF or marker == _COMMENT else segment


def _without_padding(content: bytes, warning: str) -> bytes | None:
    """Removes the bytes that the decoder's warning calls extraneous; None unless they are all the same."""
    if not (found := _EXTRANEOUS.search(warning)):
        return None
    length, marker = int(found[1]), bytes.fromhex(found[2])
    for match in re.finditer(b"\xff+" + re.escape(marker), content):
        end = match.start()
        preceding = content[max(0, end - length - _UNCOUNTED - 1) : end]
        run = len(preceding) - len(preceding.rstrip(preceding[-1:]))
        # The decoder has read part of a longer run as pixels: such a run overwrites image data.
        if length <= run <= length + _UNCOUNTED:
            return content[: end - length] + content[end:]
    return None
