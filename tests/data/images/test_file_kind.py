from pathlib import Path

import pytest
from PIL import Image

from cnn.data.images.image_file import DamagedImageError, decode_image

SAVE = ", which is not supported: save it as JPEG"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (bytes(5000), "zeros instead of an image"),
        (b"\0\0\0\x28ftypheic\0\0\0\0mif1heicMiHB", f"a HEIC photograph{SAVE}"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", f"a HEIC photograph{SAVE}"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", f"a camera's raw file{SAVE}"),
        (b"II*\0\x10\0\0\0CR\2\0", f"a camera's raw file{SAVE}"),
        (b"FUJIFILMCCD-RAW 0201", f"a camera's raw file{SAVE}"),
        (b"\xff\x0a\xfa\x1f\x41\x91", f"a JPEG XL image{SAVE}"),
        (b"8BPS\0\1\0\0", f"a Photoshop file{SAVE}"),
        (b"P7\nWIDTH 16\n", "a PAM image, which is not supported: save it as PNG"),
        (b"\0\0\1\0\1\0\x10\x10", "an icon"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n", "a PostScript file"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "a video"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a video"),
        (b"RIFF\x24\0\0\0AVI LIST", "a video"),
        (b"\n<!doctype HTML><title>404 Not Found</title>", "a web page"),
        (b"\xef\xbb\xbf<html><body>", "a web page"),
        (b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "a text file"),
        (b'{"error": "not found"}', "a text file"),
        ("ein schöner Text\n".encode(), "a text file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "a Git LFS pointer in place of the file: run git lfs pull",
        ),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "macOS metadata of a file, not the file itself"),
        (b"PK\3\4\x14\0", "an archive or an office document"),
        (b"\xff\xd8\xff\xe0", "JPEG with a damaged header, or of an unsupported variant"),
        (b"II*\0\x08\0\0\0", "TIFF with a damaged header, or of an unsupported variant"),
        (bytes(range(7, 200)), "not an image of a known format"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_name(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "image.jpg").write_bytes(content)
    with pytest.raises(DamagedImageError) as caught:
        decode_image(tmp_path / "image.jpg", 16)
    assert str(caught.value) == reason


@pytest.mark.parametrize("kind", ["avif", "jp2", "j2k", "jfif", "jpe", "mpo", "apng", "pnm"])
def test_more_kinds_are_read(tmp_path: Path, kind: str) -> None:
    colour = (255, 255, 255)
    Image.new("RGB", (16, 16), colour).save(tmp_path / f"image.{kind}")
    assert abs(decode_image(tmp_path / f"image.{kind}", 16).astype(int) - colour).max() <= 2


@pytest.mark.parametrize(
    "content",
    [
        b"P1\n# drawn by hand\n8 8\n" + b"1 0 " * 32,
        b"P2 8 8 255\n" + b"7 " * 64,
        b"P3 8 8 255\n" + b"7 " * 192,
        b"P4 8 8\n" + bytes(8),
        b"P5 8 8 1023\n" + b"\3\xff" * 64,
        b"P6 8 8 65535\n" + bytes(384),
    ],
)
def test_plain_and_raw_bitmaps(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.png").write_bytes(content)
    assert decode_image(tmp_path / "image.png", 8).shape == (8, 8, 3)
    (tmp_path / "image.png").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DamagedImageError, match="cannot be decoded"):
        decode_image(tmp_path / "image.png", 8)
