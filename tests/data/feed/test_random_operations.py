"""RandAugment and TrivialAugment: each operation is that of Pillow or SciPy, and all are drawn equally often."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from cnn.data.feed.random_operations import RandomOperations

HEIGHT, WIDTH = 20, 28
SMOOTH = scipy.ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(4, HEIGHT, WIDTH, 3)), (0, 2, 2, 0))
PIXELS = np.clip(90 + 300 * SMOOTH, 7, 231).astype(np.uint8)
"""Four images whose values do not span the whole range."""

HALF = math.sqrt(0.5)
"""Sine and cosine of 45 degrees."""

OPERATIONS = RandomOperations("trivialaugment", 9, HEIGHT, WIDTH)


def apply(name: str, strength: float, pixels: np.ndarray = PIXELS) -> np.ndarray:
    rows = tf.fill([len(pixels)], tf.constant(OPERATIONS.rows.index((name, strength)), tf.int64))
    return np.asarray(OPERATIONS.apply(tf.constant(pixels, tf.float32), rows))


def by_pillow(change: Callable[[Image.Image], Image.Image], pixels: np.ndarray = PIXELS) -> np.ndarray:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in pixels])


@pytest.mark.parametrize(
    ("name", "strength", "change"),
    [
        ("identity", 1.0, lambda image: image),
        ("equalize", 1.0, ImageOps.equalize),
        ("solarize", 0.5, lambda image: ImageOps.solarize(image, 128)),
        ("solarize", -0.5, lambda image: ImageOps.solarize(image, 128)),
        ("posterize", 1.0, lambda image: ImageOps.posterize(image, 2)),
    ],
)
def test_values_are_mapped_as_by_pillow(
    name: str, strength: float, change: Callable[[Image.Image], Image.Image]
) -> None:
    assert np.array_equal(apply(name, strength), by_pillow(change))
    assert np.any(apply(name, strength) != PIXELS) == (name != "identity")


def test_contrast_is_stretched_as_by_pillow() -> None:
    """Whose rounding of whole results may be downwards."""
    np.testing.assert_allclose(apply("autocontrast", 1.0), by_pillow(ImageOps.autocontrast).astype(float), atol=1)
    assert np.all(np.ptp(apply("autocontrast", 1.0), (1, 2)) == 255)


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_flat_and_nearly_flat_images(name: str) -> None:
    """Those of one value, of which nothing can be stretched, and with a single other pixel."""
    flat = np.full((2, HEIGHT, WIDTH, 3), 77, np.uint8)
    flat[1, 3, 4] = 80
    assert np.array_equal(apply(name, 1.0, flat), by_pillow(getattr(ImageOps, name), flat))


@pytest.mark.parametrize("strength", [0.5, -0.5])
@pytest.mark.parametrize("name", ["brightness", "contrast", "sharpness"])
def test_enhancements_are_those_of_pillow(name: str, strength: float) -> None:
    """Of images without colour, as Pillow's grey weighs colours differently."""
    images = np.repeat(PIXELS[..., :1], 3, 3)
    enhance = getattr(ImageEnhance, name.capitalize())
    theirs = by_pillow(lambda image: enhance(image).enhance(1 + 0.99 * strength), images).astype(float)
    mine = apply(name, strength, images)
    inside = np.s_[:, 1:-1, 1:-1]  # Pillow does not smooth the border
    np.testing.assert_allclose(mine[inside], theirs[inside], atol=1)
    assert np.abs(mine - images).max() > 5


def test_colours_are_moved_from_and_to_grey() -> None:
    grey = PIXELS.mean(3, keepdims=True)
    for strength in (0.5, -0.5):
        expected = np.clip(grey + (1 + 0.99 * strength) * (PIXELS - grey), 0, 255)
        np.testing.assert_allclose(apply("color", strength), expected, atol=0.51)


@pytest.mark.parametrize(
    ("name", "matrix", "shift"),
    [
        ("rotate", [[HALF, HALF], [-HALF, HALF]], (0, 0)),
        ("shear_x", [[1, 0], [0.33, 1]], (0, 0)),
        ("shear_y", [[1, 0.33], [0, 1]], (0, 0)),
        ("translate_x", [[1, 0], [0, 1]], (0, 32 / 3)),
        ("translate_y", [[1, 0], [0, 1]], (32 / 3, 0)),
    ],
)
def test_images_are_moved_about_their_centre(name: str, matrix: list[list[float]], shift: tuple[float, float]) -> None:
    """By a third of the full strength, with rows before columns here; from outside comes grey."""
    middle = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])
    linear = np.array(matrix, float)
    offset = middle - linear @ middle + np.array(shift)
    moved = [
        scipy.ndimage.affine_transform(image[..., channel].astype(float), linear, offset, order=1, cval=128)
        for image in PIXELS
        for channel in range(3)
    ]
    expected = np.stack(moved).reshape(4, 3, HEIGHT, WIDTH).transpose(0, 2, 3, 1)
    mine = apply(name, 1 / 3)
    is_inside = np.stack([scipy.ndimage.affine_transform(np.ones((HEIGHT, WIDTH)), linear, offset, order=1)] * 4) > 0.99
    assert is_inside.mean() > 0.2
    np.testing.assert_allclose(mine[is_inside], expected[is_inside], atol=0.6)
    assert np.any(mine[~is_inside] == 128)
    assert np.any(apply(name, -1 / 3) != mine)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("policy", "magnitude"), [("randaugment", 0.0), ("randaugment", 10.0), ("trivialaugment", 9.0)]
)
def test_pixels_stay_whole_numbers_of_8_bits(policy: str, magnitude: float, channels: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (300, 8, 8, channels)).astype(np.float32)
    operations = RandomOperations(policy, magnitude, 8, 8)
    changed = operations(tf.constant(pixels), tf.constant(np.arange(300), tf.uint32)).numpy()
    assert np.array_equal(changed, np.clip(np.round(changed), 0, 255))
    assert 0.1 < np.mean(np.any(changed != pixels, (1, 2, 3))) < 1


def test_all_operations_are_drawn_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(RandomOperations, "apply", lambda self, pixels, rows: drawn.append(rows.numpy()) or pixels)
    keys = tf.constant(np.arange(86_800, dtype=np.uint32))
    for policy, rounds, strengths in (("randaugment", 2, {0.9, -0.9}), ("trivialaugment", 1, None)):
        operations = RandomOperations(policy, 9.0, HEIGHT, WIDTH)
        drawn.clear()
        operations(tf.zeros((1, 1, 1, 1)), keys)
        assert len(drawn) == rounds
        assert len({name for name, _ in operations.rows}) == 14
        if strengths:
            assert {strength for _, strength in operations.rows} == strengths
            assert abs(np.corrcoef(*drawn)[0, 1]) < 0.02
        for rows in drawn:
            counts = np.bincount(rows, minlength=len(operations.rows))
            expected = len(rows) / len(operations.rows)
            assert len(counts) == len(operations.rows)
            assert np.abs(counts - expected).max() < 6 * math.sqrt(expected)


def test_the_precision_does_not_change_an_image() -> None:
    keys = tf.constant(np.arange(4) * 31, tf.uint32)
    changed = [OPERATIONS(tf.constant(PIXELS, dtype), keys).numpy() for dtype in (tf.float32, tf.float64, tf.bfloat16)]
    for each in changed[1:]:
        assert np.array_equal(each.astype(np.float32), changed[0])
