"""How gradients are put into buckets; tests/integration/test_cluster.py exchanges them."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cnn.cluster.exchange.buckets import make_buckets

SIZES = st.lists(st.integers(0, 100), max_size=40)


@given(SIZES, st.integers(1, 200))
def test_every_tensor_is_in_one_bucket_last_first(sizes: list[int], limit: int) -> None:
    buckets = make_buckets(sizes, limit)
    assert [position for bucket in buckets for position in bucket] == list(reversed(range(len(sizes))))
    assert all(buckets)


@given(SIZES, st.integers(1, 200))
def test_no_joint_bucket_is_above_the_limit(sizes: list[int], limit: int) -> None:
    for bucket in make_buckets(sizes, limit):
        positive = [position for position in bucket if sizes[position]]
        assert len(positive) <= 1 or sum(sizes[position] for position in bucket) <= limit


@given(SIZES, st.integers(1, 200))
def test_a_bucket_is_closed_only_when_the_next_does_not_fit(sizes: list[int], limit: int) -> None:
    buckets = make_buckets(sizes, limit)
    for bucket, following in itertools.pairwise(buckets):
        assert sum(sizes[position] for position in bucket) + sizes[following[0]] > limit


def test_examples() -> None:
    assert make_buckets([], 10) == []
    assert make_buckets([4, 4, 4], 8) == [[2, 1], [0]]
    assert make_buckets([4, 400, 4], 8) == [[2], [1], [0]]
    assert make_buckets([8, 8], 100) == [[1, 0]]
