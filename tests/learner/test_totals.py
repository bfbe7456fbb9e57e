"""Sums of metrics, and their means."""

import numpy as np

from cnn.learner.totals import Total, add_totals, means


def total(sums: list[float], samples: list[int]) -> Total:
    return Total(np.array(sums), np.array(samples))


def test_a_class_without_samples_has_no_mean_and_is_not_in_the_metric_s() -> None:
    by_class = total([3, 0, 1], [4, 0, 2])
    assert by_class.means[[0, 2]].tolist() == [0.75, 0.5]
    assert np.isnan(by_class.means[1])
    assert by_class.mean == 0.625  # not 4 of 6
    assert means({"a": by_class, "b": total([1], [3])}) == {"a": 0.625, "b": 1 / 3}


def test_a_loss_that_is_not_finite_stays_so() -> None:
    assert np.isnan(total([np.nan], [4]).mean)
    assert total([np.inf], [4]).mean == np.inf
    assert Total(np.array([[1.0], [np.nan]]), np.array([[2], [2]])).mean.tolist()[0] == 0.5


def test_what_is_added_is_of_the_later_metrics() -> None:
    earlier = {"a": total([1], [2]), "gone": total([5], [5]), "of fewer classes": total([1, 2], [2, 2])}
    later = {"a": total([3], [4]), "new": total([1], [1]), "of fewer classes": total([1, 0, 0], [1, 1, 1])}
    both = {name: (each.sums.tolist(), each.samples.tolist()) for name, each in add_totals(earlier, later).items()}
    assert both == {"a": ([4], [6]), "new": ([1], [1]), "of fewer classes": ([1, 0, 0], [1, 1, 1])}
