"""Sums of metrics over samples, and the means that follow from them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Total(NamedTuple):
    """A metric's sums over some samples. Arrays for several steps have the step as an additional first dimension."""

    sums: np.ndarray
    """(cells,), one cell for all samples or one for each class; int64 for counted metrics, else float64."""

    samples: np.ndarray
    """int64 (cells,): the number of samples in each sum."""

    @property
    def means(self) -> np.ndarray:
        """Means (cells,); NaN for cells without samples."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.sums / self.samples)

    @property
    def mean(self) -> np.ndarray:
        """The metric's value: the mean over the cells that have samples."""
        present = self.samples > 0
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(present, self.means, 0).sum(-1) / present.sum(-1))


Totals = Mapping[str, Total]
"""Totals by metric name."""


def add_totals(totals: Totals, more: Totals) -> dict[str, Total]:
    """Adds totals, for the metrics of `more`: one that `totals` lacks, or has with other cells, starts from `more`."""

    def add(total: Total, earlier: Total | None) -> Total:
        if earlier is None or earlier.sums.shape != total.sums.shape:
            return total
        return Total(earlier.sums + total.sums, earlier.samples + total.samples)

    return {name: add(total, totals.get(name)) for name, total in more.items()}


def means(totals: Totals) -> dict[str, float]:
    """Each metric's value."""
    return {name: float(total.mean) for name, total in totals.items()}
