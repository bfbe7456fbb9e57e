"""The sequence of samples: the same one for any number of workers, from any step on."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn.data.order import Plan, SampleOrder


def real(plan: Plan, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and keys of the real samples of a step."""
    mask = plan.weights[row] == 1
    return plan.indices[row][mask], plan.keys[row][mask]


def assert_same(one: Plan, other: Plan) -> None:
    for name in ("indices", "keys", "weights", "counts"):
        left, right = getattr(one, name), getattr(other, name)
        assert left.dtype == right.dtype
        assert np.array_equal(left, right), name


@st.composite
def orders(draw: st.DrawFn) -> SampleOrder:
    samples = np.array(draw(st.lists(st.integers(0, 10_000), min_size=1, max_size=60, unique=True)))
    micro_batch_size = draw(st.none() | st.integers(1, 80))
    return SampleOrder(
        samples, draw(st.integers(1, 70)), draw(st.integers(0, 2**32 - 1)), micro_batch_size=micro_batch_size
    )


@settings(max_examples=150, deadline=None)
@given(orders(), st.integers(1, 9), st.integers(0, 30), st.integers(1, 12))
def test_ranks_together_have_what_one_worker_has(order: SampleOrder, workers: int, first: int, steps: int) -> None:
    whole = order.plan(first, steps, 0, 1)
    parts = [order.plan(first, steps, rank, workers) for rank in range(workers)]
    for row in range(steps):
        _, start, stop = order.bounds(first + row)
        indices, keys = real(whole, row)
        assert len(indices) == stop - start == whole.counts[row] > 0
        of_ranks = [real(part, row) for part in parts]
        assert np.array_equal(np.concatenate([each[0] for each in of_ranks]), indices)
        assert np.array_equal(np.concatenate([each[1] for each in of_ranks]), keys)
        sizes = [len(each[0]) for each in of_ranks]
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= parts[0].indices.shape[1]
        assert all(part.counts[row] == whole.counts[row] for part in parts)
    for part in parts:
        assert part.indices.shape == part.keys.shape == part.weights.shape
        assert np.isin(part.weights, (0, 1)).all()
        assert (part.keys[part.weights == 0] == 0).all()
        assert np.isin(part.indices, order.samples).all()  # what fills up must be gathered too
        dtypes = [getattr(part, name).dtype for name in ("indices", "keys", "weights", "counts")]
        assert dtypes == [np.int32, np.uint32, np.float32, np.int32]


@settings(max_examples=50, deadline=None)
@given(orders(), st.integers(0, 5))
def test_every_sample_once_an_epoch(order: SampleOrder, epoch: int) -> None:
    per_epoch = order.steps_per_epoch
    plan = order.plan(epoch * per_epoch, per_epoch, 0, 1)
    seen = np.concatenate([real(plan, row)[0] for row in range(per_epoch)])
    assert sorted(seen) == sorted(order.samples)
    assert plan.counts.sum() == len(order.samples)
    assert (plan.counts[:-1] == order.global_batch_size).all()


@settings(max_examples=50, deadline=None)
@given(orders(), st.integers(0, 20), st.lists(st.integers(1, 5), min_size=1, max_size=5), st.data())
def test_any_division_of_steps_into_plans_gives_the_same(
    order: SampleOrder, first: int, divisions: list[int], data: st.DataObject
) -> None:
    workers = data.draw(st.integers(1, 4))
    rank = data.draw(st.integers(0, workers - 1))
    whole = order.plan(first, sum(divisions), rank, workers)
    # A new one each time, as after a resume: nothing may depend on what was asked before.
    parts = [
        SampleOrder(order.samples, order.global_batch_size, order.seed, micro_batch_size=order.micro_batch_size).plan(
            first + before, steps, rank, workers
        )
        for before, steps in zip(np.cumsum([0, *divisions]), divisions, strict=False)
    ]
    joined = Plan(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(whole)},
    )
    assert_same(joined, whole)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 200), st.integers(1, 8), st.integers(1, 12), st.integers(1, 5))
def test_micro_batches_are_the_fewest_equal_ones_that_are_small_enough(
    batch: int, group_size: int, groups_at_once: int, workers: int
) -> None:
    micro = group_size * groups_at_once
    plans = [SampleOrder(np.arange(300), batch, 1, group_size, size).plan(0, 1, 0, workers) for size in (None, micro)]
    least, width = (plan.indices.shape[1] for plan in plans)
    order = SampleOrder(np.arange(300), batch, 1, group_size)
    assert order.group_size == min(group_size, batch)  # a larger one would be computed, and mostly be filled up
    group_size = order.group_size
    most = max(len(real(order.plan(0, 1, rank, workers), 0)[0]) for rank in range(workers))
    assert most <= least < most + group_size
    pieces = -(-least // micro)
    assert width % pieces == 0
    assert width // pieces <= micro
    assert width // pieces % group_size == 0
    assert least <= width < least + pieces * group_size


@settings(max_examples=50, deadline=None)
@given(orders(), st.integers(0, 20), st.integers(0, 12), st.integers(1, 4))
def test_what_is_coming_is_what_the_plan_says(order: SampleOrder, first: int, steps: int, workers: int) -> None:
    for rank in range(workers):
        plan = order.plan(first, steps, rank, workers)
        latest = order._latest
        coming = list(order.coming(first, first + steps, rank, workers))
        assert len(coming) == steps
        assert all(np.array_equal(one, other) for one, other in zip(coming, plan.indices, strict=True))
        assert order._latest is latest  # another thread must not change what this one works with
        middle = steps // 2
        assert_same(plan.part(middle, steps), order.plan(first + middle, steps - middle, rank, workers))


def test_epochs_and_seeds_have_orders_and_keys_of_their_own() -> None:
    samples = np.arange(100)
    sequences, keys = set(), []
    for seed in (1, 2, 3):
        order = SampleOrder(samples, 100, seed)
        for epoch in range(4):
            indices, of_epoch = real(order.plan(epoch, 1, 0, 1), 0)
            sequences.add(tuple(indices))
            keys.extend(of_epoch)
    assert len(sequences) == 12
    assert len(set(keys)) == 1200


def test_a_small_case_stays_as_it_is() -> None:
    """A change here breaks every run that is resumed by the new version."""
    order = SampleOrder(np.array([10, 11, 12, 13, 14]), 3, 7)
    assert order.steps_per_epoch == 2
    first, second = (order.plan(0, 3, rank, 2) for rank in (0, 1))
    assert first.counts.tolist() == second.counts.tolist() == [3, 2, 3]
    assert [real(first, row)[0].tolist() for row in range(3)] == [[10], [12], [14]]
    assert [real(second, row)[0].tolist() for row in range(3)] == [[14, 13], [11], [12, 13]]
    assert first.keys.tolist() == [[1203813864, 0], [2433114415, 0], [3934175391, 0]]
    assert second.keys.tolist() == [[4063882444, 2770979760], [1899055473, 0], [4018332792, 2716093101]]
    assert first.weights.tolist() == [[1, 0], [1, 0], [1, 0]]
    assert second.weights.tolist() == [[1, 1], [1, 0], [1, 1]]
