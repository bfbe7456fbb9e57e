"""Dividing samples in two so that every class is divided alike."""

from decimal import Decimal

import numpy as np

from cnn.keyed_random import fold64


def stratified_split(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Chooses a part of every class.

    Of n samples of a class, n * fraction are chosen, a half rounded up; but one at least stays, and with a fraction
    above 0 one at least is chosen of any class that has two. Which ones is a hash of the seed and the sample's index.

    Args:
        labels: integers of shape (samples,).
        fraction: what part to choose, in [0, 1); ValueError otherwise.
        seed: 0 or more.

    Returns:
        The indices that stay and the indices chosen, int64, each ascending; together they are all samples.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction {fraction} is not in [0, 1)")
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
