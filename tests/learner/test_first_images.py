"""What is shown of the first images against what the network gets."""

import numpy as np
import pytest
import tensorflow as tf

from cnn.data.dataset import Part
from cnn.data.feed.augmentation import AugmentationSettings
from cnn.data.order import SampleOrder
from cnn.learner.first_images import first_images


@pytest.mark.parametrize("rank", [0, 1])
def test_they_are_those_of_the_step(make_feed, rank: int) -> None:
    feed = make_feed(augmentation=AugmentationSettings(crop="pad", flip=True, mixup=0.5))
    plan = SampleOrder(np.arange(250), 80, seed=3, group_size=20).plan(2, 3, rank, 2)
    shown = first_images(feed, plan, 20)
    assert len(shown.pixels) == len(shown.labels) == 16
    images, labels = feed.read(plan.indices)
    step = tf.function(lambda *arguments: feed.training_batch(*arguments, 20))
    weights = tf.constant(plan.weights[0])
    mixed = step(images[0], labels[0], tf.constant(plan.keys[0]), weights)
    expected = np.clip(np.rint(255 * (0.25 * mixed.images.numpy() + 0.5)), 0, 255)[:16]
    assert np.abs(shown.pixels - expected).max() <= 1
    assert shown.labels.tolist() == mixed.labels.numpy()[:16].tolist()
    assert shown.partners is not None
    assert shown.partners.tolist() == mixed.partners.numpy()[:16].tolist()
    np.testing.assert_allclose(shown.shares, mixed.shares.numpy()[:16], rtol=1e-6)
    assert len(set(shown.shares.tolist())) > 1


def test_without_augmentation_they_are_the_images(make_feed, part: Part) -> None:
    plan = SampleOrder(np.arange(250), 80, seed=3).plan(0, 1, 0, 1)
    shown = first_images(make_feed(), plan, 1)
    assert np.array_equal(shown.pixels, part.images[plan.indices[0, :16]])
    assert shown.labels.tolist() == part.labels[plan.indices[0, :16]].tolist()
    assert (shown.partners, shown.shares) == (None, None)


def test_samples_that_fill_up_are_not_shown(make_feed) -> None:
    plan = SampleOrder(np.arange(250), 80, seed=3).plan(3, 1, 0, 1)  # an epoch's last step, of 10 samples
    assert len(first_images(make_feed(), plan, 1).pixels) == 10
