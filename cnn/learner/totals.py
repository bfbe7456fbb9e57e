"""Sums of metrics over samples, and the means that follow from them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Total(NamedTuple):
    """A metric's sums over some samples. Totals of steps have these as first dimension."""

    sums: np.ndarray
    """(cells,), one for all samples or one for each class: int64 for counted metrics, else float64."""

    samples: np.ndarray
    """int64 (cells,): how many samples were added up."""

    @property
    def means(self) -> np.ndarray:
        """(cells,): NaN where there are no samples."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.sums / self.samples)

    @property
    def mean(self) -> np.ndarray:
        """The metric's value: the mean of the cells that have samples."""
        seen = self.samples > 0
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(seen, self.means, 0).sum(-1) / seen.sum(-1))


Totals = Mapping[str, Total]
"""By the metrics' names."""


def added(totals: Totals, more: Totals) -> dict[str, Total]:
    """The totals of both, for the metrics of `more`. A metric that `totals` lacks, or has with other cells, begins."""

    def joined(total: Total, earlier: Total | None) -> Total:
        if earlier is None or earlier.sums.shape != total.sums.shape:
            return total
        return Total(earlier.sums + total.sums, earlier.samples + total.samples)

    return {name: joined(total, totals.get(name)) for name, total in more.items()}


def means(totals: Totals) -> dict[str, float]:
    """Each metric's value."""
    return {name: float(total.mean) for name, total in totals.items()}
