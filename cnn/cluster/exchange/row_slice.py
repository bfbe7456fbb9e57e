"""Matrices whose rows are divided among the ranks."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cnn.cluster.ranks.collectives import Cluster
from cnn.tensor import Tensor


class RowSlice:
    """A matrix (m, n) of which each rank holds h = ceil(m / ranks) rows.

    Rank r holds the rows from r * h on. Where the matrix has no more rows, the slices of the last ranks are filled up
    with zeros.

    Args:
        cluster: the workers.
        rows: this rank's rows, a variable (h, n).
        height: the number of rows of the whole matrix, m.
    """

    def __init__(self, cluster: Cluster, rows: keras.Variable, height: int) -> None:
        self._cluster = cluster
        self.rows = rows
        self.shape = (height, *rows.shape[1:])
        """The shape of the whole matrix."""

    @property
    def dtype(self) -> Any:
        """The type of its elements."""
        return self.rows.dtype

    def like(self, rows: keras.Variable) -> "RowSlice":
        """A matrix of the same shape that is divided likewise, by this rank's rows of it."""
        return RowSlice(self._cluster, rows, self.shape[0])

    def own_rows(self, whole: Tensor) -> Tensor:
        """This rank's rows (h, n) of a whole matrix (m, n)."""
        height = self.rows.shape[0]
        first = min(height * self._cluster.rank, self.shape[0])
        rows = tf.convert_to_tensor(whole[first : first + height])
        return tf.pad(rows, [(0, height - rows.shape[0]), (0, 0)])

    def assign(self, whole: Tensor) -> None:
        """Keeps this rank's rows of a whole matrix (m, n)."""
        self.rows.assign(self.own_rows(whole))

    def scatter(self, whole: np.ndarray | None) -> None:
        """Every rank keeps its rows of rank 0's matrix; collective: every rank calls it, the others with None."""
        sent = tf.Variable(tf.zeros(self.shape, self.dtype) if whole is None else tf.cast(whole, self.dtype))
        self._cluster.broadcast([sent])
        self.assign(sent)

    def whole(self) -> Tensor:
        """The whole matrix (m, n), on every rank; collective: every rank calls it."""
        return self.joined(self.rows.value)

    def joined(self, rows: Tensor) -> Tensor:
        """The whole matrix (m, n) of other rows that are divided likewise, (h, n); collective: every rank calls it."""
        return self._cluster.join(tf.convert_to_tensor(rows))[: self.shape[0]]
