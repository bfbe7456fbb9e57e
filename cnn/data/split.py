"""Divides samples into two parts that both contain every class."""

import hashlib
import os
import unicodedata
from decimal import Decimal

import numpy as np

from cnn.data.dataset import Dataset
from cnn.keyed_random import fold64

_VALIDATION = 0x76616C
"""Makes the draws for the validation part independent of those for the test part."""


def divide_training_part(dataset: Dataset, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Holds out a part of the training images for validation.

    This is the data set's own validation part if it has one. Otherwise it is drawn: by the samples' keys if they have
    any, else by their indices, in data sets that are always the same.

    Args:
        dataset: the data set whose training images are divided.
        fraction: fraction to draw, in [0, 1).
        seed: seed of the draw, 0 or more.

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
    """A number below 2**64 for an image's path in its data set; the same for every Unicode form of its accents."""
    name = unicodedata.normalize("NFC", path)
    return int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=8).digest(), "big")


def split_by_draws(labels: np.ndarray, fraction: float, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the samples with low draws, each independently of the others.

    So adding or removing samples does not change the choice for the others. Small classes are an exception: of a class
    with two or more samples at least one is not chosen, and with a fraction above 0 at least one is.

    Args:
        labels: integers of shape (samples,).
        fraction: expected fraction to choose, in [0, 1); ValueError otherwise.
        draws: uint64 of shape (samples,), a random number for each sample that depends on this sample alone.

    Returns:
        The same as `stratified_split`.
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
    """Chooses a fraction of every class, in data sets whose samples and their order never change.

    Of a class of n samples, n * fraction are chosen, halves rounded up; but at least one is not chosen, and with a
    fraction above 0 at least one of two or more is. The choice follows from a hash of the seed and the sample's index.

    Args:
        labels: integers of shape (samples,).
        fraction: fraction to choose, in [0, 1); ValueError otherwise.
        seed: seed of the choice, 0 or more.

    Returns:
        The indices not chosen and the indices chosen, int64, each ascending; together they are all samples.
    """
    _check_fraction(fraction)
    ranks = fold64(seed, np.arange(len(labels)))
    chosen = np.zeros(len(labels), bool)
    for label in sorted(set(labels.tolist())):  # np.unique would import masked arrays first
        members = np.flatnonzero(labels == label)
        count = _chosen_count(len(members), fraction)
        chosen[members[np.argsort(ranks[members], kind="stable")[:count]]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _chosen_count(samples: int, fraction: float) -> int:
    # In decimal arithmetic: 0.145 of 100 is 14.5 for the user, but not in binary floating point.
    rounded = int(samples * Decimal(str(float(fraction))) + Decimal("0.5"))
    return min(max(rounded, 1 if fraction > 0 else 0), samples - 1)


def _check_fraction(fraction: float) -> None:
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction {fraction} is not in [0, 1)")
