import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from cnn.data.images.image_file import DamagedImageError, decode_image
from tests.hostile import altered, examples

Noise = Callable[..., Image.Image]


def _reason(path: Path) -> str:
    with warnings.catch_warnings(), pytest.raises(DamagedImageError) as caught:
        warnings.simplefilter("error")
        decode_image(path, 16)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _colour(path: Path) -> list[int]:
    """The colour of an image that has one only."""
    pixels = decode_image(path, 16)
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert np.all(pixels == pixels[0, 0])
    return list(map(int, pixels[0, 0]))


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("RGB", (10, 20, 30), "png", [10, 20, 30]),
        ("RGB", (10, 20, 30), "bmp", [10, 20, 30]),
        ("RGB", (10, 20, 30), "webp", [10, 20, 30]),
        ("RGB", (10, 20, 30), "tiff", [10, 20, 30]),
        ("RGB", (10, 20, 30), "ppm", [10, 20, 30]),
        ("L", 77, "png", [77, 77, 77]),
        ("L", 77, "pgm", [77, 77, 77]),
        ("L", 77, "jpg", [77, 77, 77]),
        ("1", 1, "png", [255, 255, 255]),
        ("LA", (100, 0), "png", [255, 255, 255]),
        ("LA", (100, 255), "png", [100, 100, 100]),
        ("RGBA", (10, 20, 30, 255), "png", [10, 20, 30]),
        ("RGBA", (0, 0, 0, 51), "png", [204, 204, 204]),
        ("I;16", 0x8080, "png", [128, 128, 128]),
        ("I;16", 0xFFFF, "tiff", [255, 255, 255]),
        ("I;16", 255, "png", [1, 1, 1]),
        ("I", 0x8080, "pgm", [128, 128, 128]),
        ("CMYK", (0, 255, 255, 0), "tiff", [255, 0, 0]),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path, mode: str, colour: int | tuple[int, ...], kind: str, expected: list[int]
) -> None:
    path = tmp_path / f"image.{kind}"
    extra = {"lossless": True} if kind == "webp" else {}
    Image.new(mode, (20, 24), colour).save(path, **extra)
    assert _colour(path) == expected


def test_a_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (20, 24), (0, 255, 255, 0)).save(tmp_path / "image.jpg")
    assert np.allclose(_colour(tmp_path / "image.jpg"), [255, 0, 0], atol=4)


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([9, 8, 7, 30, 20, 10])
    image.save(tmp_path / "whole.png")
    image.paste(0, (0, 0, 16, 8))
    image.save(tmp_path / "half.png", transparency=0)
    assert _colour(tmp_path / "whole.png") == [30, 20, 10]
    pixels = decode_image(tmp_path / "half.png", 16)
    assert np.all(pixels[:8] == 255)
    assert np.all(pixels[8:] == [30, 20, 10])


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:], lossless=True)
    assert _colour(tmp_path / f"a.{kind}") == [255, 0, 0]


@pytest.mark.parametrize("kind", ["png", "jpg", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_orientation_is_applied(tmp_path: Path, kind: str, orientation: int) -> None:
    quarters = np.zeros((16, 16, 3), np.uint8)
    quarters[:8, :8], quarters[:8, 8:], quarters[8:, :8] = [255, 0, 0], [0, 255, 0], [0, 0, 255]
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / f"image.{kind}"
    lossy = {"lossless": True} if kind == "webp" else {"quality": 100, "subsampling": 0} if kind == "jpg" else {}
    Image.fromarray(quarters).save(path, exif=exif, **lossy)
    noted = Image.fromarray(quarters)
    noted.getexif()[0x112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(noted))
    assert np.abs(decode_image(path, 16).astype(int) - upright).max() <= 8


def test_a_damaged_orientation_does_no_harm(tmp_path: Path, noise: Noise) -> None:
    noise(1, 16, 16).save(tmp_path / "image.png", exif=b"Exif\0\0MM\0*\0\0\0\xff")
    assert np.array_equal(decode_image(tmp_path / "image.png", 16), np.asarray(noise(1, 16, 16)))


@pytest.mark.parametrize(("width", "height"), [(48, 16), (16, 48)])
def test_the_central_square_is_cut_out(tmp_path: Path, noise: Noise, width: int, height: int) -> None:
    noise(2, width, height).save(tmp_path / "image.png")
    middle = noise(2, width, height).crop(
        ((width - 16) // 2, (height - 16) // 2, (width + 16) // 2, (height + 16) // 2)
    )
    assert np.array_equal(decode_image(tmp_path / "image.png", 16), np.asarray(middle))


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    """A fine chequered pattern becomes grey, not one of its two colours."""
    board = (np.indices((160, 160)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    inner = decode_image(tmp_path / "board.png", 16)[1:-1, 1:-1]
    assert np.abs(inner.astype(int) - 127).max() <= 3


def test_a_small_image_is_enlarged(tmp_path: Path) -> None:
    Image.new("RGB", (8, 9), (1, 2, 3)).save(tmp_path / "small.png")
    assert _colour(tmp_path / "small.png") == [1, 2, 3]


def test_a_long_image_takes_no_memory_for_its_ends(tmp_path: Path) -> None:
    """Scaled as a whole it would have 16 x 1.6 million pixels."""
    Image.new("1", (800_000, 8), 1).save(tmp_path / "long.png")
    assert _colour(tmp_path / "long.png") == [255, 255, 255]


def test_a_large_jpeg_is_read_in_less_detail_but_looks_the_same(tmp_path: Path, noise: Noise) -> None:
    large = noise(3, 20, 20).resize((400, 400), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.jpg", quality=95, subsampling=0)
    large.save(tmp_path / "large.png")
    difference = decode_image(tmp_path / "large.jpg", 40).astype(int) - decode_image(tmp_path / "large.png", 40)
    assert np.abs(difference).mean() < 3


def _png(width: int, height: int) -> bytes:
    """A PNG file whose header claims a size that there are no pixels for."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("side", "reason"),
    [
        (10_001, "10001x10001 pixels, more than 100 million"),
        (12_000, "12000x12000 pixels, more than 100 million"),
        (20_000, "more than 100 million pixels"),
        (2**31 - 1, "more than 100 million pixels"),
    ],
)
def test_a_bomb_is_not_decoded(tmp_path: Path, side: int, reason: str) -> None:
    """Pillow would warn from 9,459 on and refuses from 13,378 on."""
    path = tmp_path / "bomb.png"
    path.write_bytes(_png(side, side))
    assert _reason(path) == reason


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 100), (100, 7)])
def test_too_small(tmp_path: Path, width: int, height: int) -> None:
    Image.new("RGB", (width, height)).save(tmp_path / "small.png")
    assert _reason(tmp_path / "small.png") == f"{width}x{height} pixels, less than 8 on a side"


@pytest.mark.parametrize("kind", ["jpg", "png", "gif", "bmp", "webp", "tiff", "ppm", "avif", "jp2"])
@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.9])
def test_cut_off(tmp_path: Path, noise: Noise, kind: str, fraction: float) -> None:
    path = tmp_path / f"image.{kind}"
    noise(4, 64, 64).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    assert _reason(path)


def test_pixels_that_are_no_bytes(tmp_path: Path) -> None:
    Image.new("F", (16, 16), 0.5).save(tmp_path / "float.tiff")
    assert _reason(tmp_path / "float.tiff") == "floating-point pixels"
    Image.new("I", (16, 16), 70_000).save(tmp_path / "wide.tiff")
    assert _reason(tmp_path / "wide.tiff") == "pixels of more than 16 bits"


@pytest.mark.parametrize(("mode", "bytes_of_a_pixel"), [("I;16", "<u2"), ("I;16B", ">u2"), ("I", "<i4")])
def test_each_value_of_16_bits_is_rounded_to_8(tmp_path: Path, mode: str, bytes_of_a_pixel: str) -> None:
    values = np.arange(0x10000).reshape(256, 256)
    Image.frombytes(mode, (256, 256), values.astype(bytes_of_a_pixel).tobytes()).save(tmp_path / "image.tiff")
    expected = (values * 255 + 0x7FFF) // 0xFFFF
    assert np.array_equal(decode_image(tmp_path / "image.tiff", 256), np.stack([expected] * 3, axis=-1))


def test_a_path_that_cannot_be_looked_at(tmp_path: Path) -> None:
    """As one in a folder that may not be entered, whose names can be listed nevertheless."""
    assert _reason(tmp_path / ("x" * 300 + ".jpg")) == "cannot be decoded: File name too long"


def test_no_file(tmp_path: Path) -> None:
    assert _reason(tmp_path / "nothing.jpg") == "cannot be decoded: No such file or directory"
    os.mkfifo(tmp_path / "pipe.jpg")
    assert _reason(tmp_path / "pipe.jpg") == "not a file"


def _encoded(kind: str, mode: str = "RGB") -> bytes:
    content, pixels = io.BytesIO(), np.random.default_rng(8).integers(0, 256, (12, 12, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(content, kind)
    return content.getvalue()


ENCODED = [_encoded(kind) for kind in ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")]
ENCODED += [_encoded(kind, "P") for kind in ("GIF", "PNG", "TIFF")]


@examples(250)
@given(st.sampled_from(ENCODED).flatmap(altered))
def test_any_bytes_are_an_image_or_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(content)
    try:
        pixels = decode_image(path, 16)
    except DamagedImageError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert (pixels.shape, pixels.dtype) == ((16, 16, 3), np.uint8)
