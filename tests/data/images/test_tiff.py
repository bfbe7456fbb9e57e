import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.data.images.image_file import DamagedImageError, decode_image

Noise = Callable[..., Image.Image]

COMPRESSIONS = ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_sound_ones(tmp_path: Path, noise: Noise, compression: str) -> None:
    image = noise(1, 8, 8).resize((64, 64), Image.Resampling.BICUBIC)
    path = tmp_path / "image.tiff"
    for pages in ([], [noise(2, 64, 64)]):
        image.save(path, compression=compression, save_all=True, append_images=pages)
        difference = decode_image(path, 64).astype(int) - np.asarray(image)
        assert np.abs(difference).max() <= (60 if compression == "jpeg" else 0)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
@pytest.mark.parametrize("value", [0, 255])
def test_overwritten_data(tmp_path: Path, noise: Noise, compression: str, value: int) -> None:
    path = tmp_path / "image.tiff"
    noise(1, 64, 64).save(path, compression=compression)
    content = bytearray(path.read_bytes())
    middle = slice(len(content) // 2, len(content) // 2 + 200)
    content[middle] = bytes([value]) * 200
    path.write_bytes(content)
    with pytest.raises(DamagedImageError, match="cannot be decoded"):
        decode_image(path, 64)


def test_a_preview_is_not_the_image(tmp_path: Path, noise: Noise) -> None:
    """Which is what Pillow sees of many cameras' raw files."""
    noise(1, 64, 64).save(tmp_path / "image.nef", "TIFF", tiffinfo={254: 1})
    with pytest.raises(DamagedImageError, match="only a preview, as in a camera's raw file: save it as JPEG"):
        decode_image(tmp_path / "image.nef", 64)


@pytest.mark.parametrize(("photometric", "expected"), [(0, 255 - 128), (1, 128)])
def test_zero_may_mean_white_in_16_bits_too(tmp_path: Path, photometric: int, expected: int) -> None:
    entries = {256: 16, 257: 16, 258: 16, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 16, 279: 512}
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in entries.items()
    )
    pixels = struct.pack("<H", 0x8080) * 256
    (tmp_path / "image.tiff").write_bytes(b"II*\0" + struct.pack("<I", 520) + pixels + directory + bytes(4))
    assert np.all(decode_image(tmp_path / "image.tiff", 16) == expected)
