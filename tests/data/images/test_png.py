import io
import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.data.images.image_file import DamagedImageError, decode_image

from .icc import SRGB, rgb_profile

Noise = Callable[..., Image.Image]

_AFTER_HEADER = 33


def _chunk(kind: bytes, content: bytes, change: int = 0) -> bytes:
    checksum = zlib.crc32(kind + content) ^ change
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


@pytest.fixture
def whole(noise: Noise) -> bytes:
    content = io.BytesIO()
    noise(1, 32, 32).save(content, "PNG")
    return content.getvalue()


def _decoded(tmp_path: Path, content: bytes) -> np.ndarray:
    (tmp_path / "image.png").write_bytes(content)
    return decode_image(tmp_path / "image.png", 32)


LETTERS = b"x" * 3_000_000


@pytest.mark.parametrize(
    "chunk",
    [
        _chunk(b"tEXt", b"Comment\0" + LETTERS),
        _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LETTERS)),
        _chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LETTERS)),
        _chunk(b"iTXt", b"\xff\xfe\1\1"),
        _chunk(b"tEXt", b"Comment\0text", change=1),
        _chunk(b"eXIf", b"MM\0*\0\0\0\x08", change=1),
        _chunk(b"eXIf", b"MM\0*\xff"),
        _chunk(b"iCCP", b"name\0\0" + zlib.compress(rgb_profile(SRGB, 2.2) + LETTERS), change=1),
        _chunk(b"iCCP", b"name\0\0" + zlib.compress(LETTERS)),
        _chunk(b"iCCP", b"name\0\0not compressed"),
        _chunk(b"iCCP", b""),
        _chunk(b"prIV", bytes(9)),
    ],
)
def test_notes_of_any_size_do_no_harm(tmp_path: Path, whole: bytes, noise: Noise, chunk: bytes) -> None:
    for place in (_AFTER_HEADER, len(whole) - 12):
        pixels = _decoded(tmp_path, whole[:place] + chunk + whole[place:])
        assert np.array_equal(pixels, np.asarray(noise(1, 32, 32)))


def test_much_text_takes_no_memory(tmp_path: Path, whole: bytes) -> None:
    path, length = tmp_path / "image.png", 1_500_000_000
    with open(path, "wb") as file:
        file.write(whole[:_AFTER_HEADER] + struct.pack(">I", length) + b"tEXt")
        file.seek(length + 4, io.SEEK_CUR)  # a hole, which takes no room on the disk
        file.write(whole[_AFTER_HEADER:])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    decode_image(path, 32)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS"])
def test_a_wrong_checksum(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "image.png"
    Image.new("P", (16, 16), 1).save(path, transparency=0)
    content = bytearray(path.read_bytes())
    start = content.index(kind)
    content[start + 4 + int.from_bytes(content[start - 4 : start], "big")] ^= 1
    with pytest.raises(DamagedImageError, match=f"wrong checksum of its {kind.decode()} data"):
        _decoded(tmp_path, bytes(content))


def test_a_file_that_is_cut_off_at_any_place(tmp_path: Path, whole: bytes) -> None:
    for place in range(8, len(whole), 61):
        with pytest.raises(DamagedImageError, match="the file is cut off"):
            _decoded(tmp_path, whole[:place])


@pytest.mark.parametrize("changed", [lambda rows: rows[:-40], lambda rows: rows[:99]])
def test_compressed_pixels_that_are_not_whole(tmp_path: Path, whole: bytes, changed: Callable[[bytes], bytes]) -> None:
    """With right checksums around them."""
    rows = zlib.compress(bytes(32 * (1 + 32 * 3)), 0)
    content = whole[:_AFTER_HEADER] + _chunk(b"IDAT", changed(rows)) + _chunk(b"IEND", b"")
    with pytest.raises(DamagedImageError, match="cannot be decoded"):
        _decoded(tmp_path, content)


def test_what_follows_the_end_does_no_harm(tmp_path: Path, whole: bytes, noise: Noise) -> None:
    assert np.array_equal(_decoded(tmp_path, whole + b"junk"), np.asarray(noise(1, 32, 32)))
