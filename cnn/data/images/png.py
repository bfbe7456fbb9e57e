"""Reads the chunks of PNG files that determine the pixels, and verifies their checksums."""

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_PROFILE, _TRANSPARENCY = b"iCCP", b"tRNS"
_MAX_PROFILE = 1 << 24

# Maximum bytes of the ancillary chunks that affect how the pixels look.
_MAX_BYTES = {_TRANSPARENCY: 256, b"eXIf": 1 << 20, _PROFILE: _MAX_PROFILE}


def png_content(file: BinaryIO) -> tuple[BinaryIO, bytes | None]:
    """Reads a PNG file without its text chunks, which may be of any size, and without all frames but the first.

    Pillow does not verify the pixels' checksums and refuses files with much text.

    Args:
        file: the opened file, at its start.

    Returns:
        A PNG file with the same pixels and orientation, and its colour profile.

    Raises:
        ValueError: the file is truncated, or a chunk that determines the pixels has a wrong checksum.
    """
    content, profile = io.BytesIO(), None
    content.write(file.read(len(SIGNATURE)))
    for chunk_type, chunk, intact in _chunks(file):
        needed = not chunk_type[0] & 0x20 or chunk_type == _TRANSPARENCY
        if needed and not intact:
            raise ValueError(f"wrong checksum of its {chunk_type.decode('ascii', 'replace')} data")
        if chunk_type == _PROFILE and intact:
            profile = _decompressed(chunk)
        elif intact:
            content.write(chunk)
    content.seek(0)
    return content, profile


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes, bool]]:
    """Type and bytes of each chunk of use, and whether its checksum is right."""
    chunk_type = b""
    while chunk_type != b"IEND":
        head = file.read(8)
        length, chunk_type = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8:
            raise ValueError("the file is cut off")
        if chunk_type[0] & 0x20 and length > _MAX_BYTES.get(chunk_type, -1):  # a lower-case first letter: ancillary
            file.seek(length + 4, io.SEEK_CUR)
            continue
        rest = file.read(length + 4)
        if len(rest) < length + 4:
            raise ValueError("the file is cut off")
        intact = zlib.crc32(memoryview(rest)[:-4], zlib.crc32(chunk_type)) == int.from_bytes(rest[-4:], "big")
        yield chunk_type, head + rest, intact


def _decompressed(chunk: bytes) -> bytes | None:
    """The profile in an iCCP chunk; None if it is damaged or larger than `_MAX_PROFILE`."""
    _, _, packed = chunk[8:-4].partition(b"\0")
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(packed[1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return profile if unpacking.eof else None
