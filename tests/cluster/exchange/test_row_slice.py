"""Which rows of a matrix a rank holds."""

import keras
import numpy as np
import pytest

from cnn.cluster.exchange.exchange_cost import slice_height
from cnn.cluster.exchange.row_slice import RowSlice
from cnn.cluster.ranks.planned_cluster import PlannedCluster


@pytest.mark.parametrize(("height", "workers"), [(6, 1), (6, 2), (7, 3), (9, 4), (2, 4)])
def test_the_ranks_rows_together_are_the_matrix(height: int, workers: int) -> None:
    whole = np.arange(height * 3, dtype=np.float32).reshape(height, 3) + 1
    parts = []
    for rank in range(workers):
        cluster = PlannedCluster(workers)
        cluster.rank = rank
        rows = keras.Variable(np.full((slice_height(height, workers), 3), 9.0))
        matrix = RowSlice(cluster, rows, height)
        assert matrix.shape == whole.shape
        matrix.assign(whole)
        parts.append(rows.numpy())
    joined = np.concatenate(parts)
    np.testing.assert_array_equal(joined[:height], whole)
    np.testing.assert_array_equal(joined[height:], 0)


def test_a_slot_is_divided_like_its_kernel() -> None:
    matrix = RowSlice(PlannedCluster(3), keras.Variable(np.ones((3, 2))), 7)
    slot = matrix.like(keras.Variable(np.zeros((3, 2))))
    assert slot.shape == (7, 2)
    slot.assign(np.full((7, 2), 4.0))
    np.testing.assert_array_equal(slot.rows.numpy(), 4)
    np.testing.assert_array_equal(matrix.rows.numpy(), 1)
