"""The images that the network gets in a step, after augmentation, to be looked at."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from cnn.data.feed.feed import Feed
from cnn.data.order import Plan


class ShownImages(NamedTuple):
    """Images as a network gets them, with their labels."""

    pixels: np.ndarray
    """uint8 (images, height, width, channels)."""

    labels: np.ndarray
    """int64 (images,)."""

    partners: np.ndarray | None
    """int64 (images,): labels of the images mixed in; None without mixing."""

    shares: np.ndarray | None
    """Floating (images,): shares of `labels`; None without mixing."""


def first_images(feed: Feed, plan: Plan, group_size: int, most: int = 16) -> ShownImages:
    """The first images of a plan's first step, at most so many, computed again outside the step.

    Args:
        feed: the source of images.
        plan: this rank's part of the batches.
        group_size: samples within which images are mixed.
        most: maximum number of images.
    """
    # Complete groups, as an image's partner is in its group.
    first = slice(min(-(-most // group_size) * group_size, plan.indices.shape[1]))
    images, labels = feed.read(plan.indices[:1, first])
    keys, weights = tf.constant(plan.keys[0, first]), tf.constant(plan.weights[0, first], feed.dtype)
    mixed = feed.training_batch(images[0], labels[0], keys, weights, group_size)
    chosen = np.flatnonzero(plan.weights[0, first])[:most]
    partners, shares = (None if each is None else each.numpy()[chosen] for each in (mixed.partners, mixed.shares))
    return ShownImages(feed.pixels_of(mixed.images)[chosen], mixed.labels.numpy()[chosen], partners, shares)
