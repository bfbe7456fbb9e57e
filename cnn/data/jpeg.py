"""The pixels of JPEG files, of which each has been read and none made up.

libjpeg fills in what damage has taken from a file and only warns of it, which Pillow does not pass on. simplejpeg is
the same decoder with each warning an error, and its pixels are the same to the bit.
"""

import re

import simplejpeg
from PIL import Image

# By the mode that Pillow gives a JPEG: the same for simplejpeg, and how Pillow reads the result.
_LAYOUTS = {"L": ("GRAY", "L"), "RGB": ("RGB", "RGB"), "CMYK": ("CMYK", "CMYK;I")}

_JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
_ADOBE = b"Adobe"
_START, _COMMENT, _SCAN = b"\xff\xd8", 0xFE, 0xDA
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_SEQUENTIAL = {0xC0, 0xC1, 0xC9}

# What simplejpeg cannot decode though it is sound: 4:1:0, for example. Pillow does it, but without notice of damage.
_RARE = "Could not determine subsampling"

_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")

# Bytes of padding that may fill the decoder's buffer at the end of a scan, which it does not count.
_UNCOUNTED = 8

# Decoding is tried again for each scan or restart interval that ends with padding.
_ATTEMPTS = 20


def jpeg_pixels(content: bytes, image: Image.Image) -> Image.Image:
    """Decodes a JPEG, and is stricter than Pillow.

    Harmless are wrong notes beside the pixels, bytes between the segments of the header and after the end, and padding
    of one repeated byte after a scan. Other bytes left over are not: they tell that damage made the decoder lose its
    place.

    Args:
        content: of the file.
        image: as Pillow opened it; if in less detail (`draft`), the result has as little.

    Returns:
        An image of the same mode and size.

    Raises:
        ValueError: the decoder had to guess; the text is what it warned of.
    """
    colours, raw = _LAYOUTS[image.mode]
    width, height = image.size
    tidied = False
    for _ in range(_ATTEMPTS):
        try:
            pixels = simplejpeg.decode_jpeg(content, colours, min_width=width, min_height=height)
            break
        except ValueError as error:
            if _RARE in str(error):
                image.load()
                return image
            shorter = _without_padding(content, str(error)) if tidied else _tidied(content)
            if shorter is None:
                raise
            content, tidied = shorter, True
    else:
        raise ValueError("too much padding")
    if pixels.shape[:2] != (height, width):
        raise ValueError("more than one size is noted")
    return Image.frombuffer(image.mode, (width, height), pixels, "raw", raw, 0, 1)


def _tidied(content: bytes) -> bytes | None:
    """The file with nothing in its header that the decoder may warn of and that says nothing about the pixels.

    The decoder tells only of the first thing that it does not like: a harmless one would hide the others.
    """
    parts, at, sequential = [_START], 2, False
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
            # A sequential scan has no use for the last three bytes, in which some cameras write something else.
            return b"".join([*parts, segment[:-3] + b"\0\x3f\0" if sequential else segment, content[end:]])
        parts.append(_essential(marker, segment))
        sequential = sequential or marker in _SEQUENTIAL
        at = end
    return None


def _essential(marker: int, segment: bytes) -> bytes:
    """What the pixels' colours depend on, of a segment of the header."""
    if marker == 0xE0 and segment[4:9] == _JFIF[4:9]:
        return _JFIF
    if marker == 0xEE and segment[4:9] == _ADOBE and len(segment) >= 16:
        return segment if segment[15] <= 2 else segment[:15] + b"\1" + segment[16:]
    return b"" if 0xE0 <= marker <= 0xEF or marker == _COMMENT else segment


def _without_padding(content: bytes, warning: str) -> bytes | None:
    """The file without the bytes of which the decoder warns that they are left over, if they are all the same."""
    if not (found := _LEFT_OVER.search(warning)):
        return None
    length, marker = int(found[1]), bytes.fromhex(found[2])
    for place in re.finditer(b"\xff+" + re.escape(marker), content):
        end = place.start()
        before = content[max(0, end - length - _UNCOUNTED - 1) : end]
        run = len(before) - len(before.rstrip(before[-1:]))
        # A longer run was read as pixels in part: it has been written over what was there.
        if length <= run <= length + _UNCOUNTED:
            return content[: end - length] + content[end:]
    return None
