"""PNG files: what their pixels follow from, with its checksums compared."""

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_PROFILE, _TRANSPARENCY = b"iCCP", b"tRNS"
_LARGEST_PROFILE = 1 << 24

# Bytes that each of the ancillary chunks which say how the pixels look may have.
_LARGEST = {_TRANSPARENCY: 256, b"eXIf": 1 << 20, _PROFILE: _LARGEST_PROFILE}


def png_content(file: BinaryIO) -> tuple[BinaryIO, bytes | None]:
    """Reads a PNG file without its texts, which may be of any size, and without all frames but the first.

    Pillow neither compares the checksums of the pixels nor reads a file with much text.

    Args:
        file: at its start.

    Returns:
        A PNG file with the same pixels and orientation, and its colour profile.

    Raises:
        ValueError: the file is cut off, or a checksum of what the pixels follow from is wrong.
    """
    content, profile = io.BytesIO(), None
    content.write(file.read(len(SIGNATURE)))
    for kind, chunk, sound in _chunks(file):
        needed = not kind[0] & 0x20 or kind == _TRANSPARENCY
        if needed and not sound:
            raise ValueError(f"wrong checksum of its {kind.decode('ascii', 'replace')} data")
        if kind == _PROFILE and sound:
            profile = _decompressed(chunk)
        elif sound:
            content.write(chunk)
    content.seek(0)
    return content, profile


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes, bool]]:
    """Kind, bytes and soundness of each chunk that is of use."""
    kind = b""
    while kind != b"IEND":
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8:
            raise ValueError("the file is cut off")
        if kind[0] & 0x20 and length > _LARGEST.get(kind, -1):  # an ancillary chunk, as its first letter is small
            file.seek(length + 4, io.SEEK_CUR)
            continue
        rest = file.read(length + 4)
        if len(rest) < length + 4:
            raise ValueError("the file is cut off")
        sound = zlib.crc32(memoryview(rest)[:-4], zlib.crc32(kind)) == int.from_bytes(rest[-4:], "big")
        yield kind, head + rest, sound


def _decompressed(chunk: bytes) -> bytes | None:
    """The profile in an iCCP chunk, or None if it is damaged or larger than any."""
    _, _, packed = chunk[8:-4].partition(b"\0")
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(packed[1:], _LARGEST_PROFILE)
    except zlib.error:
        return None
    return profile if unpacking.eof else None
