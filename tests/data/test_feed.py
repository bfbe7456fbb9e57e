"""Batches from images in memory."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from cnn.data.dataset import Dataset, Part
from cnn.data.feed import ResidentFeed

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


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-5), ("float64", 1e-13)])
def test_images_are_standardised_by_channel_and_labels_gathered(dtype: str, limit: float) -> None:
    indices = np.array([19, 0, 7, 7, 3], np.int32)
    images, labels = ResidentFeed(DATASET, PART, dtype).batch(tf.constant(indices))
    expected = (PART.images[indices] / 255 - np.array(MEAN)) / np.array(DEVIATION)
    assert images.dtype == dtype
    np.testing.assert_allclose(images.numpy(), expected, rtol=limit, atol=20 * limit)
    assert labels.dtype == tf.int32
    assert np.array_equal(labels, PART.labels[indices])


def test_a_channel_without_contrast_stays_finite() -> None:
    flat = dataclasses.replace(DATASET, standard_deviation=(0.2, 0.0, 0.05))
    images, _ = ResidentFeed(flat, PART, "float64").batch(tf.constant([1, 2]))
    expected = (PART.images[1:3, ..., 1] / 255 - 0.5) / 1e-3
    np.testing.assert_allclose(images.numpy()[..., 1], expected, rtol=1e-12)


def test_a_batch_is_the_same_inside_a_compiled_function() -> None:
    feed = ResidentFeed(DATASET, PART, "float32")
    compiled = tf.function(feed.batch, input_signature=[tf.TensorSpec((None,), tf.int32)])
    for count in (1, 4):
        indices = tf.range(count)
        images, labels = compiled(indices)
        assert images.shape == (count, *SHAPE[1:])
        np.testing.assert_allclose(images, feed.batch(indices)[0], rtol=1e-6, atol=1e-6)
        assert np.array_equal(labels, PART.labels[:count])


def test_a_smaller_input_is_cut_from_the_centre() -> None:
    feed = ResidentFeed(dataclasses.replace(DATASET, input_size=3), PART, "float64")
    images, _ = feed.batch(tf.constant([4]))
    expected = (PART.images[4:5, 1:4, 2:5] / 255 - np.array(MEAN)) / np.array(DEVIATION)
    np.testing.assert_allclose(images, expected, rtol=1e-12, atol=1e-12)
    trained = feed.training_batch(tf.constant([4]), tf.constant([1], tf.uint32), tf.ones(1, tf.float64), 1)
    assert np.array_equal(trained.images, images)
    assert trained.partners is None
