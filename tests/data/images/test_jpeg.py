import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnn.data.images.image_file import DamagedImageError, decode_image
from tests.hostile import altered, examples

END = b"\xff\xd9"

_ARITHMETIC = """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpR
Uk//yQALCAAwADABAREA/8wABgAQEAX/2gAIAQEAAD8A0dfbmG0n20la5T0HECskIdyNScy074BlsEQ+2MKOIMpZydo+EDQnS6+whmSLCkZVxEJjBArK
E0sV/ZUvOXoRqhJDlGCue4WCLTPbqouheLL+3+ZjRlLAbc0JQidKmmG6vFlMC+CiitF2/SGOiVlizicClLkJqWo5uwttkr7QQD4aYVKs/kGG4KD2Gki3
GhxO3HVzfRkmIXTdhOOa3I1acjSRvxG0pwRZh1xDMRkcHN0Ok+rYRBmQnmEf/o3yGgTVRzQFcUSeO2Ip8Me45foSU6CyNRYVG/M9N3nntjZi6w6Rzs/B
znKQ0bpNGih+zUeJqmBJer8ilJgYDIImtIujB5vVjrWHwL1YPGCPQcE1icDvkjAy8NeB/u2mvKvLqQ7OmAOxn2+kJ+l6mKrl9ujwuRbTZyfo4zBKY4o1
uJ/u1yF5+LKjEBobTyFFGLd2X978iK6tdLhDvfabwvO+spkwe5U9/NefC4DkPFpTWk0WPjeIGgb8ukqmKviUQnarhzCkgHTDNRfko4FwG0KMQWpLGwjw
pZTz17udSAfvnxuBYdwJMvJ3YDSZ307lrOOI77oDFpMYWUs5Yovny7gbg3oBcrwXnvQjrJOU0I4W2gE6wMiZZHxEY8q62NNobc20cP/Z
"""

_RARE_SUBSAMPLING = """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABQODxIPDRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+
gXz/2wBDARUXFx4aHjshITt8U0ZTfHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHz/wAARCAAgACADAUIAAhEB
AxEB/8QAGgABAAIDAQAAAAAAAAAAAAAABQMGAAECBP/EAB4QAAICAgMBAQAAAAAAAAAAAAECABEDBBMhMUES/8QAFgEBAQEAAAAAAAAAAAAAAAAABAID
/8QAGhEBAQADAQEAAAAAAAAAAAAAAgEAAxIEFP/aAAwDAQACEQMRAD8AcXbRj0Z1kYFLhmTKP3VyVBYle1N5zkFmWIZ71fe6grZmOz79jeqQUFyfRqpK
1TBbTwi7lRwKVcGMJnrDVzyBhy3E8OyFUdwoIBNliBIGajM5mH2MCg2M3NnfsvMz/9k=
"""


def _encoded(mode: str = "RGB", **options: object) -> bytes:
    """A picture with fine and coarse detail."""
    pixels = np.random.default_rng(11).integers(0, 256, (24, 24, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).convert(mode).save(content, "JPEG", **options)
    return content.getvalue()


BASELINE = _encoded()
PROGRESSIVE = _encoded(progressive=True)
SCAN = BASELINE.index(b"\xff\xda")
SOUND = {
    "baseline": BASELINE,
    "progressive": PROGRESSIVE,
    "restart markers": _encoded(restart_marker_blocks=2),
    "4:4:4": _encoded(subsampling="4:4:4"),
    "4:1:1": _encoded(subsampling="4:1:1"),
    "RGB": _encoded(keep_rgb=True),
    "grey": _encoded("L"),
    "CMYK": _encoded("CMYK"),
    "arithmetic": base64.b64decode(_ARITHMETIC),
    "4:1:0": base64.b64decode(_RARE_SUBSAMPLING),
}
DAMAGE = ["RGB", "baseline", "grey", "CMYK", "progressive", "restart markers"]


@pytest.fixture
def decoded(tmp_path: Path) -> Callable[[bytes], np.ndarray]:
    def decode(content: bytes, size: int = 32) -> np.ndarray:
        (tmp_path / "image.jpg").write_bytes(content)
        return decode_image(tmp_path / "image.jpg", size)

    return decode


Decode = Callable[..., np.ndarray]


def _as_pillow_has_it(content: bytes, size: int) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        side, ratio = min(image.size), 2 * size / min(image.size)
        if ratio < 1:
            image.draft(None, (int(image.width * ratio), int(image.height * ratio)))
            side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        square = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
        return np.asarray(square)


@pytest.mark.parametrize("size", [8, 16, 40, 96, 100])
@pytest.mark.parametrize("kind", SOUND)
def test_the_pixels_are_those_of_pillow_to_the_bit(decoded: Decode, kind: str, size: int) -> None:
    """So stores that were prepared by Pillow's decoder hold what this one gives."""
    assert np.array_equal(decoded(SOUND[kind], size), _as_pillow_has_it(SOUND[kind], size))


@pytest.mark.parametrize("end", [b"", END])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_scan_that_is_cut_off_at_any_place(decoded: Decode, kind: str, end: bytes) -> None:
    content = SOUND[kind]
    for place in range(content.index(b"\xff\xda") + 14, len(content) - 3, 97):
        with pytest.raises(DamagedImageError, match="cannot be decoded"):
            decoded(content[:place] + end)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_scan_whose_second_half_is_zeros(decoded: Decode, kind: str) -> None:
    half = len(SOUND[kind]) // 2
    with pytest.raises(DamagedImageError, match="cannot be decoded"):
        decoded(SOUND[kind][:half] + bytes(half) + END)


def test_noise_whose_end_is_zeros(decoded: Decode) -> None:
    """Zeros stand for more pixels than noise does: those that are left over look like padding."""
    pixels = np.random.default_rng(3).integers(0, 256, (96, 96, 3), np.uint8)
    for options in ({"quality": 95}, {"quality": 95, "progressive": True}):
        whole = io.BytesIO()
        Image.fromarray(pixels).save(whole, "JPEG", **options)
        content = whole.getvalue()
        for part in (2, 3, 8, 20):
            length = len(content) // part
            with pytest.raises(DamagedImageError, match="cannot be decoded"):
                decoded(content[:-length] + bytes(length) + END)


@pytest.mark.parametrize("value", [0x00, 0x55, 0xFF])
def test_a_scan_that_is_overwritten(decoded: Decode, value: int) -> None:
    content = bytearray(BASELINE)
    middle = slice(len(content) // 2, len(content) // 2 + 500)
    content[middle] = bytes([value]) * 500
    with pytest.raises(DamagedImageError, match="cannot be decoded"):
        decoded(bytes(content))


def test_a_restart_interval_that_is_missing(decoded: Decode) -> None:
    content = SOUND["restart markers"]
    start, end = (content.index(bytes([0xFF, marker]), SCAN) for marker in (0xD1, 0xD2))
    with pytest.raises(DamagedImageError, match="found marker 0xd2 instead of RST1"):
        decoded(content[:start] + content[end:])


def _segment(number: int, content: bytes) -> bytes:
    return bytes([0xFF, number]) + (len(content) + 2).to_bytes(2, "big") + content


def _with(place: int, what: bytes, content: bytes = BASELINE) -> bytes:
    return content[:place] + what + content[place:]


def _second_scan() -> int:
    return PROGRESSIVE.index(b"\xff\xc4", PROGRESSIVE.index(b"\xff\xda"))


GARBAGE = bytes(range(1, 60))
HARMLESS = {
    "bytes between segments": _with(SCAN, b"\0\1junk"),
    "fill bytes between segments": _with(SCAN, b"\xff" * 9),
    "bytes between segments twice": _with(20, b"junk", _with(SCAN, b"junk")),
    "padding after the scan": _with(len(BASELINE) - 2, bytes(300)),
    "fill bytes after the scan": _with(len(BASELINE) - 2, b"\xff" * 300),
    "one byte after the scan": _with(len(BASELINE) - 2, b"\x7f"),
    "both": _with(len(BASELINE) - 2, bytes(9))[:SCAN] + b"junk" + _with(len(BASELINE) - 2, bytes(9))[SCAN:],
    "bytes after the end": BASELINE + GARBAGE * 1000,
    "a film after the end": BASELINE + b"\0\0\0\x18ftypmp42" + bytes(9999),
    "another image after the end": BASELINE + PROGRESSIVE,
    "half an image after the end": BASELINE + PROGRESSIVE[:1000],
    "an unknown version of JFIF": BASELINE.replace(b"JFIF\0\1\1", b"JFIF\0\0\0"),
    "numbers that a sequential scan has no use for": BASELINE[: SCAN + 11] + b"\0\0\0" + BASELINE[SCAN + 14 :],
    "an unknown transform of colours": _with(20, _segment(0xEE, b"Adobe\0\x64\0\0\0\0\7")),
    **{
        f"damaged notes {number:x} {start!r}": _with(20, _segment(number, start + GARBAGE))
        for number, start in [
            (0xE1, b"Exif\0\0"),
            (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
            (0xE1, b"http://ns.adobe.com/xap/1.0/\0"),
            (0xE2, b"ICC_PROFILE\0\1\1"),
            (0xE2, b"ICC_PROFILE\0\2\1"),
            (0xE2, b"MPF\0"),
            (0xED, b"Photoshop 3.0\0"),
            (0xE0, b"JFXX\0\x10"),
            (0xFE, b""),
        ]
    },
    "a thumbnail": _with(20, _segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + _encoded("L"))),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_what_does_no_harm(decoded: Decode, what: str) -> None:
    assert np.array_equal(decoded(HARMLESS[what]), decoded(BASELINE))


@pytest.mark.parametrize("what", HARMLESS)
def test_what_does_no_harm_hides_no_damage(decoded: Decode, what: str) -> None:
    place = HARMLESS[what].index(BASELINE[SCAN + 20 : SCAN + 40]) + 300
    with pytest.raises(DamagedImageError, match="cannot be decoded"):
        decoded(HARMLESS[what][:place] + END)


def test_padding_between_the_scans_of_a_progressive_image(decoded: Decode) -> None:
    padded = _with(_second_scan(), bytes(20), PROGRESSIVE)
    assert np.array_equal(decoded(padded), decoded(PROGRESSIVE))
    with pytest.raises(DamagedImageError, match="cannot be decoded"):
        decoded(padded[: len(padded) * 2 // 3] + END)


def test_what_is_left_of_a_scan_is_not_padding(decoded: Decode) -> None:
    """Where damage shortens what is decoded, the rest of the data is left over, in which bytes differ."""
    with pytest.raises(DamagedImageError, match="extraneous bytes before marker 0xd9"):
        decoded(_with(len(BASELINE) - 2, bytes(range(1, 17))))


def test_a_photograph_with_a_second_one(decoded: Decode, tmp_path: Path) -> None:
    """As phones write it: with a smaller picture, or one for each eye."""
    first, second = (Image.open(io.BytesIO(SOUND[kind])) for kind in ("baseline", "progressive"))
    first.save(tmp_path / "both.mpo", save_all=True, append_images=[second])
    content = (tmp_path / "both.mpo").read_bytes()
    expected = decode_image(tmp_path / "both.mpo", 32)
    assert np.array_equal(decoded(content[:-1000]), expected)
    with pytest.raises(DamagedImageError, match="Premature end"):
        decoded(content[: len(content) // 4])


@examples(200)
@given(st.sampled_from([SOUND[kind] for kind in (*DAMAGE, "arithmetic")]).flatmap(altered))
def test_what_is_accepted_is_what_pillow_makes_of_it(tmp_path: Path, content: bytes) -> None:
    """Some changed bytes are data as good as before; then the picture has other colours, but none is made up."""
    (tmp_path / "image.jpg").write_bytes(content)
    try:
        pixels = decode_image(tmp_path / "image.jpg", 24)
    except DamagedImageError as error:
        assert not re.search(r"[\n\r]", str(error))
    else:
        assert np.array_equal(pixels, _as_pillow_has_it(content, 24))
