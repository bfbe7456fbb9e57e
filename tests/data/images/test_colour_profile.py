from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from cnn.data.images.image_file import decode_image

from .icc import DISPLAY_P3, SRGB, grey_profile, rgb_profile

_OWN = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_EXCHANGED = rgb_profile({"r": SRGB["b"], "g": SRGB["g"], "b": SRGB["r"]})


def _shown(path: Path, mode: str, colour: int | tuple[int, ...], profile: bytes) -> list[int]:
    lossless = {"lossless": True} if path.suffix == ".webp" else {"quality": 100} if path.suffix == ".jpg" else {}
    Image.new(mode, (16, 16), colour).save(path, icc_profile=profile, **lossless)
    return list(map(int, decode_image(path, 16)[8, 8]))


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (DISPLAY_P3, (216, 93, 24)),
        (SRGB, (201, 100, 46)),
        ({"r": SRGB["b"], "g": SRGB["g"], "b": SRGB["r"]}, (46, 100, 201)),
    ],
)
def test_colours_are_shown_as_the_profile_means_them(
    tmp_path: Path, kind: str, profile: dict[str, tuple[float, float, float]], expected: tuple[int, ...]
) -> None:
    shown = _shown(tmp_path / f"image.{kind}", "RGB", (200, 100, 50), rgb_profile(profile))
    assert np.allclose(shown, expected, atol=4)


@pytest.mark.parametrize("profile", [_OWN, b"", b"not a profile" * 20, grey_profile(1)[:200], _EXCHANGED[:-300]])
def test_colours_stay_where_the_profile_is_srgb_or_of_no_use(tmp_path: Path, profile: bytes) -> None:
    assert _shown(tmp_path / "image.png", "RGB", (200, 100, 50), profile) == [200, 100, 50]


def test_a_profile_of_grey(tmp_path: Path) -> None:
    assert _shown(tmp_path / "image.png", "L", 55, grey_profile(1.0)) == pytest.approx([128] * 3, abs=2)
    assert _shown(tmp_path / "image.png", "L", 128, grey_profile(2.2)) == pytest.approx([128] * 3, abs=1)


def test_a_profile_and_transparency(tmp_path: Path) -> None:
    assert _shown(tmp_path / "image.png", "RGBA", (200, 100, 50, 0), _EXCHANGED) == [255, 255, 255]
    assert _shown(tmp_path / "image.png", "RGBA", (255, 0, 0, 255), _EXCHANGED) == pytest.approx([0, 0, 255], abs=2)


def test_a_profile_of_other_pixels_is_left_aside(tmp_path: Path) -> None:
    assert _shown(tmp_path / "image.tiff", "CMYK", (0, 255, 255, 0), _EXCHANGED) == [255, 0, 0]
