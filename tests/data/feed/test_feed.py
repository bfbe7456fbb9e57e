"""Batches from images in memory and from streamed ones."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cnn.data.dataset import Dataset, Part
from cnn.data.feed import pixels
from cnn.data.feed.augmentation import CROPS, AugmentationSettings
from cnn.data.feed.feed import Feed
from cnn.data.jpeg_images import JpegImages
from cnn.data.jpeg_record import encode

SHAPE = (20, 5, 7, 3)
PART = Part(
    images=np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8),
    labels=np.random.default_rng(1).integers(0, 10, SHAPE[0], np.int32),
)
MEAN, DEVIATION = (0.1, 0.5, 0.7), (0.2, 0.3, 0.05)
NAMES = tuple(map(str, range(10)))
DATASET = Dataset(
    name="noise", class_names=NAMES, train=PART, test=PART, mean=MEAN, standard_deviation=DEVIATION, checksum="0"
)

both_kinds = pytest.mark.parametrize("resident_mb", [0, 1], ids=["streamed", "resident"])


def read_one(feed: Feed, indices: list[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """What a compiled function would get for one step."""
    images, labels = feed.read(np.array([indices], np.int32))
    return images[0], labels[0]


@both_kinds
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-5), ("float64", 1e-13)])
def test_images_are_standardised_by_channel_and_have_their_labels(dtype: str, limit: float, resident_mb: int) -> None:
    indices = [19, 0, 7, 7, 3]
    feed = Feed(DATASET, PART, dtype, resident_mb=resident_mb)
    read, labels = read_one(feed, indices)
    images = feed.batch(read)
    expected = (PART.images[indices] / 255 - np.array(MEAN)) / np.array(DEVIATION)
    assert images.dtype == dtype
    np.testing.assert_allclose(images.numpy(), expected, rtol=limit, atol=20 * limit)
    assert labels.dtype == tf.int64
    assert np.array_equal(labels, PART.labels[indices])


def test_a_channel_without_contrast_stays_finite() -> None:
    flat = dataclasses.replace(DATASET, standard_deviation=(0.2, 0.0, 0.05))
    feed = Feed(flat, PART, "float64", resident_mb=1)
    images = feed.batch(read_one(feed, [1, 2])[0])
    expected = (PART.images[1:3, ..., 1] / 255 - 0.5) / 1e-3
    np.testing.assert_allclose(images.numpy()[..., 1], expected, rtol=1e-12)


@both_kinds
def test_a_compiled_function_takes_any_number_of_steps(resident_mb: int) -> None:
    feed = Feed(DATASET, PART, "float32", resident_mb=resident_mb)
    signature = [*feed.specs(4), tf.TensorSpec((), tf.int32)]
    compiled = tf.function(
        lambda images, labels, step: (feed.batch(images[step]), labels[step]), input_signature=signature
    )
    for steps in (1, 3):
        indices = np.arange(4 * steps, dtype=np.int32).reshape(steps, 4)
        images, labels = compiled(*feed.read(indices), steps - 1)
        assert images.shape == (4, *SHAPE[1:])
        np.testing.assert_allclose(images, feed.batch(feed.read(indices)[0][-1]), rtol=1e-6, atol=1e-6)
        assert np.array_equal(labels, PART.labels[indices[-1]])


@both_kinds
def test_a_smaller_input_is_cut_from_the_centre(resident_mb: int) -> None:
    feed = Feed(dataclasses.replace(DATASET, input_size=3), PART, "float64", resident_mb=resident_mb)
    read, labels = read_one(feed, [4])
    images = feed.batch(read)
    expected = (PART.images[4:5, 1:4, 2:5] / 255 - np.array(MEAN)) / np.array(DEVIATION)
    np.testing.assert_allclose(images, expected, rtol=1e-12, atol=1e-12)
    trained = feed.training_batch(read, labels, tf.constant([1], tf.uint32), tf.ones(1, tf.float64), 1)
    assert np.array_equal(trained.images, images)
    assert trained.partners is None


@pytest.mark.parametrize("crop", CROPS)
def test_streamed_batches_have_the_bits_of_resident_ones(crop: str, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", PART.images)
    stored = Part(images=np.load(tmp_path / "images.npy", mmap_mode="r"), labels=PART.labels)
    settings = AugmentationSettings(crop=crop, flip=True, colour_jitter=0.4, erase=0.5, mixup=0.3, cutmix=1.0)
    dataset = dataclasses.replace(DATASET, input_size=4)
    keys, weights = tf.range(6), tf.constant([1, 1, 1, 1, 1, 0], tf.float32)
    made = []
    for part, resident_mb in ((PART, 1), (PART, 0), (stored, 0)):
        feed = Feed(dataset, part, "float32", settings, resident_mb=resident_mb)
        read, labels = read_one(feed, [19, 0, 7, 3, 3, 11])
        mixed = feed.training_batch(read, labels, tf.cast(keys, tf.uint32), weights, 3)
        made.append([values.numpy().tobytes() for values in (*mixed, feed.batch(read))])
    assert made[0] == made[1] == made[2]


def test_streamed_jpeg_images_have_the_bits_of_resident_ones(tmp_path: Path) -> None:
    records = [encode(pixels) for pixels in PART.images]
    (tmp_path / "images.jpegs").write_bytes(b"".join(records))
    ends = np.cumsum([len(record) for record in records], dtype=np.uint64)
    part = Part(images=JpegImages(tmp_path / "images.jpegs", ends), labels=PART.labels)
    made = []
    for resident_mb in (0, 1):
        feed = Feed(DATASET, part, "float32", resident_mb=resident_mb)
        assert (feed.streamed_mb == 0) == bool(resident_mb)
        assert feed.decodes_jpeg == (not resident_mb)
        made.append(feed.batch(read_one(feed, [19, 0, 7, 3, 3, 11])[0]).numpy().tobytes())
    assert made[0] == made[1]


def test_what_is_larger_than_allowed_is_streamed() -> None:
    part = Part(images=np.zeros((250, 40, 100, 1), np.uint8), labels=np.zeros(250, np.int32))
    larger = Part(images=np.zeros((251, 40, 100, 1), np.uint8), labels=np.zeros(251, np.int32))
    dataset = dataclasses.replace(DATASET, train=part, mean=(0.5,), standard_deviation=(0.2,))
    for which, resident_mb, dtype in ((part, 1, tf.int64), (larger, 1, tf.uint8), (larger, 2, tf.int64)):
        feed = Feed(dataset, which, "float32", resident_mb=resident_mb)
        assert feed.specs(10)[0].dtype == dtype


def test_a_call_gets_a_bounded_part_of_what_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Feed(DATASET, PART, "float32", resident_mb=1).max_steps(1000) > 10**9
    monkeypatch.setattr(pixels, "STREAMED_BYTES", 3 * 10 * PART.images[0].nbytes + 1)
    feed = Feed(DATASET, PART, "float32", resident_mb=0)
    assert [feed.max_steps(samples) for samples in (10, 15, 16, 1000)] == [3, 2, 1, 1]


@both_kinds
def test_reading_ahead_gives_the_same(resident_mb: int) -> None:
    feed = Feed(DATASET, PART, "float32", resident_mb=resident_mb)
    steps = np.random.default_rng(2).integers(0, 20, (9, 4), np.int32)
    with feed.reading_ahead(iter(steps)) as read:
        for first, last in ((0, 1), (1, 6), (6, 9)):
            for one, other in zip(read(steps[first:last]), feed.read(steps[first:last]), strict=True):
                assert np.array_equal(one, other)
