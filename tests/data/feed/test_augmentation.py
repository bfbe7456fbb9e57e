"""Random changes to images: what they do, and that they follow from a sample's key alone."""

import numpy as np
import pytest
import tensorflow as tf

from cnn.data.feed.augmentation import Augmentation, AugmentationSettings
from cnn.errors import UserError

STORED, INPUT = (12, 16, 3), (8, 8, 3)
COUNT = 24
KEYS = (np.arange(1, COUNT + 1) * 7919).astype(
    np.uint32
)  # computing with TensorFlow here would be before its threads are set
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, *STORED), np.uint8)


def make(
    stored: tuple[int, int, int] = STORED, wanted: tuple[int, int, int] = INPUT, **settings: object
) -> Augmentation:
    return Augmentation(AugmentationSettings(**settings), stored, wanted)  # type: ignore[arg-type]


def test_a_random_crop_is_a_window_of_its_image_mirrored_or_not() -> None:
    cut = make(crop="random", flip=True).crop(PIXELS, KEYS, tf.float32).numpy()
    places = set()
    for image, window in zip(PIXELS, cut, strict=True):
        found = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(9)
            for mirrored in (False, True)
            if np.array_equal(image[top : top + 8, left : left + 8][:, :: -1 if mirrored else 1], window)
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > COUNT // 2
    assert {mirrored for _, _, mirrored in places} == {False, True}


def test_padding_mirrors_the_border() -> None:
    image = PIXELS[:, :8, :8]
    cut = make((8, 8, 3), crop="pad").crop(image, KEYS, tf.float32).numpy()
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    windows = [padded[:, top : top + 8, left : left + 8] for top in range(3) for left in range(3)]
    for number, window in enumerate(cut):
        assert any(np.array_equal(each[number], window) for each in windows)
    assert len({window.tobytes() for window in cut - image}) > 1


def test_a_resized_crop_stays_within_its_image() -> None:
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None] * 10, (COUNT, 12, 16, 3)).copy()
    cut = make(crop="resized").crop(ramp, KEYS, tf.float32).numpy()
    assert cut.shape == (COUNT, *INPUT)
    assert cut.min() >= 0
    assert cut.max() <= 150
    widths = cut[:, 0, -1, 0] - cut[:, 0, 0, 0]
    assert widths.min() > 0  # never mirrored without flip
    assert len(np.unique(np.round(widths))) > 5


@pytest.mark.parametrize("size", [*range(76, 100), 155, 200, 224, 256, 446])
def test_the_border_of_a_resized_crop_is_never_black(size: int) -> None:
    """Those that are as wide or as high as their image reach to its last row, which rounding may not pass."""
    stored = size * 8 // 7
    white = np.full((COUNT, stored, stored, 1), 255, np.uint8)
    cut = make((stored, stored, 1), (size, size, 1), crop="resized", flip=True).crop(white, KEYS, tf.float32)
    assert np.array_equal(cut, np.full_like(cut, 255))


def test_colours_change_and_stay_in_range() -> None:
    pixels = PIXELS.astype(np.float32)
    changed = make(colour_jitter=0.5).colour(tf.constant(pixels), KEYS).numpy()
    assert changed.min() >= 0
    assert changed.max() <= 255
    brightness = changed.mean((1, 2, 3)) / pixels.mean((1, 2, 3))
    assert brightness.std() > 0.1
    assert np.array_equal(make().colour(pixels, KEYS), pixels)


def test_some_images_lose_a_rectangle() -> None:
    images = np.ones((COUNT, 32, 32, 3), np.float32)
    erased = make((32, 32, 3), (32, 32, 3), erase=0.5).erase(tf.constant(images), KEYS).numpy()
    missing = [np.argwhere(image[..., 0] == 0) for image in erased]
    hit = [where for where in missing if len(where)]
    assert COUNT // 5 < len(hit) < COUNT * 4 // 5
    for where in hit:
        height, width = where.max(0) - where.min(0) + 1
        assert len(where) == height * width
        assert 0.01 < height * width / 1024 < 0.4


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_takes_the_next_real_sample_of_the_group(kind: str) -> None:
    images = np.broadcast_to(np.arange(12.0)[:, None, None, None], (12, *INPUT)).copy()
    weights = tf.constant([1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0], tf.float64)
    labels = tf.range(12)
    mixed = make(**{kind: 1.0}).mix(tf.constant(images), labels, KEYS[:12], weights, 4)
    assert mixed.partners.numpy()[:6].tolist() == [1, 2, 3, 0, 5, 4]
    shares = mixed.shares.numpy()
    assert shares.std() > 0.1
    expected = shares * labels.numpy() + (1 - shares) * mixed.partners.numpy()
    np.testing.assert_allclose(mixed.images.numpy().mean((1, 2, 3)), expected, atol=1e-9)
    flat = [len(np.unique(image)) == 1 for image in mixed.images.numpy()]
    assert all(flat) if kind == "mixup" else not all(flat)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("alpha", [5e-324, 1e-320, 1e-12, 1e16, 1e308])
def test_extreme_distributions_are_their_limits(kind: str, alpha: float) -> None:
    """A tiny one leaves images whole, or replaces them; a huge one halves them."""
    keys = np.arange(400, dtype=np.uint32)
    mixed = make(**{kind: alpha}).mix(
        tf.ones((400, 8, 8, 3)), tf.zeros(400, tf.int64), tf.constant(keys), tf.ones(400), 4
    )
    shares = mixed.shares.numpy()
    expected = 0.5 if alpha > 1 else shares.round()
    np.testing.assert_allclose(shares, expected, atol=0.15 if kind == "cutmix" and alpha > 1 else 1e-6)


def test_mixups_proportions_are_of_the_beta_distribution() -> None:
    keys = tf.constant(np.arange(4000), tf.uint32)
    images = tf.zeros((4000, *INPUT), tf.float64)
    mixed = make(mixup=0.4).mix(images, tf.zeros(4000, tf.int64), keys, tf.ones(4000, tf.float64), 4)
    shares = mixed.shares.numpy()
    assert abs(shares.mean() - 0.5) < 0.02
    assert abs(shares.var() - 1 / (4 * (2 * 0.4 + 1))) < 0.01


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("crop", ["random", "resized"])
def test_a_samples_changes_do_not_depend_on_the_others(crop: str, dtype: tf.DType) -> None:
    change = make(crop=crop, flip=True, colour_jitter=0.3, erase=0.5)

    def changed(samples: np.ndarray) -> np.ndarray:
        keys = tf.gather(KEYS, samples)
        pixels = tf.cast(change.crop(PIXELS[samples], keys, dtype), dtype)
        return np.asarray(change.erase(change.colour(pixels, keys), keys))

    together = changed(np.arange(COUNT))
    for some in ([5], [20, 3, 11]):
        assert np.array_equal(changed(np.array(some)), together[some])


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="'padd'.*Did you mean 'pad'"):
        AugmentationSettings(crop="padd")
    with pytest.raises(UserError, match="--erase 2.0 is not in"):
        AugmentationSettings(erase=2.0)
    with pytest.raises(UserError, match="--mixup -1 is not a finite number from 0 on"):
        AugmentationSettings(mixup=-1)
    with pytest.raises(UserError, match="--crop random needs stored images that are larger"):
        make((8, 8, 3), crop="random")


def test_resized_crops_are_windows_of_a_quarter_to_all_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(pixels: np.ndarray, windows: np.ndarray, flipped: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        seen.append((windows, flipped))
        return np.zeros((len(pixels), *size, pixels.shape[3]), np.uint8)

    monkeypatch.setattr("cnn.data.feed.augmentation.resized_crops", look)
    keys, pixels = np.arange(2000, dtype=np.uint32) * 7919, np.zeros((2000, 40, 60, 1), np.uint8)
    make((40, 60, 1), (8, 8, 1), crop="resized", flip=True).crop(pixels, keys, tf.float32)
    ((windows, flipped),) = seen
    top, left, rows, columns = windows.T
    assert min(top.min(), left.min()) == 0
    assert ((top + rows).max(), (left + columns).max()) == (40, 60)
    areas, aspects = rows * columns / 2400, (columns / 60) / (rows / 40)
    assert 0.23 < areas.min() < 0.3 and 0.95 < areas.max() <= 1 and 0.55 < areas.mean() < 0.65
    assert 0.7 < aspects.min() < 0.8 and 1.25 < aspects.max() < 1.42
    assert 0.45 < flipped.mean() < 0.55
