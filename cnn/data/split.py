"""Dividing samples into parts, so that every class is in both."""

import hashlib
import os
import unicodedata
from decimal import Decimal

import numpy as np

from cnn.data.dataset import Dataset
from cnn.keyed_random import fold64

_VALIDATION = 0x76616C
"""Tells the draws for the validation part from those for the test part."""


def divide_training_part(dataset: Dataset, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Keeps a part of the training images for validation.

    That is the part which the data set itself has for this, where it has one. Otherwise it is drawn: by the samples'
    keys, where they have some; by their indices in data sets that are always the same.

    Args:
        dataset: whose training images to divide.
        fraction: what part to draw, in [0, 1).
        seed: 0 or more; of the draw.

    Returns:
        The indices to train with and those to validate with, int64, each ascending.
    """
    labels = dataset.train.labels
    if dataset.validation_images:
        samples = np.arange(len(labels))
        return samples[: -dataset.validation_images], samples[-dataset.validation_images :]
    if dataset.train_keys is None:
        return stratified_split(labels, fraction, seed)
    return split_by_draws(labels, fraction, fold64(_VALIDATION, seed, dataset.train_keys))


def path_key(path: str) -> int:
    """A number below 2**64 for an image's path in its data set; the same however a system encodes its accents."""
    name = unicodedata.normalize("NFC", path)
    return int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=8).digest(), "big")


def split_by_draws(labels: np.ndarray, fraction: float, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the samples whose draws are low, each without regard to the others.

    So samples that are added or removed change nothing for those that stay. There is one exception, for small classes:
    of a class that has two samples or more, at least one stays, and with a fraction above 0 at least one is chosen.

    Args:
        labels: integers of shape (samples,).
        fraction: what part to choose on average, in [0, 1); ValueError otherwise.
        draws: uint64 of shape (samples,), a random number for each sample that follows from the sample alone.

    Returns:
        As `stratified_split`.
    """
    _check_fraction(fraction)
    chosen = (draws >> np.uint64(11)) * 2.0**-53 < fraction
    for label in sorted(set(labels.tolist())):
        members = np.flatnonzero(labels == label)
        if chosen[members].all():
            chosen[members[draws[members].argmax()]] = False
        elif fraction > 0 and len(members) > 1 and not chosen[members].any():
            chosen[members[draws[members].argmin()]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def stratified_split(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Chooses a part of every class, of samples that are always the same ones in the same order.

    Of n samples of a class, n * fraction are chosen, a half rounded up; but one at least stays, and with a fraction
    above 0 one at least is chosen of any class that has two. Which ones is a hash of the seed and the sample's index.

    Args:
        labels: integers of shape (samples,).
        fraction: what part to choose, in [0, 1); ValueError otherwise.
        seed: 0 or more.

    Returns:
        The indices that stay and the indices chosen, int64, each ascending; together they are all samples.
    """
    _check_fraction(fraction)
    ranks = fold64(seed, np.arange(len(labels)))
    chosen = np.zeros(len(labels), bool)
    for label in sorted(set(labels.tolist())):  # np.unique would have to load masked arrays first
        members = np.flatnonzero(labels == label)
        count = _share(len(members), fraction)
        chosen[members[np.argsort(ranks[members], kind="stable")[:count]]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _share(samples: int, fraction: float) -> int:
    # In decimals, for 0.145 of 100 is 14.5 to the user though not to a float.
    rounded = int(samples * Decimal(str(float(fraction))) + Decimal("0.5"))
    return min(max(rounded, 1 if fraction > 0 else 0), samples - 1)


def _check_fraction(fraction: float) -> None:
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction {fraction} is not in [0, 1)")
