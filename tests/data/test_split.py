import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data.split import stratified_split

LABELS = st.lists(st.integers(0, 5), max_size=60).map(lambda labels: np.array(labels, np.int32))
FRACTIONS = st.floats(0, 1, exclude_max=True)
SEEDS = st.integers(0, 2**63 - 1)


@given(LABELS, FRACTIONS, SEEDS)
def test_both_parts_are_ascending_and_together_everything(labels: np.ndarray, fraction: float, seed: int) -> None:
    rest, chosen = stratified_split(labels, fraction, seed)
    assert list(rest) == sorted(rest)
    assert list(chosen) == sorted(chosen)
    assert sorted([*rest, *chosen]) == list(range(len(labels)))


@given(LABELS, FRACTIONS, SEEDS)
def test_every_class_gives_its_share_and_keeps_one(labels: np.ndarray, fraction: float, seed: int) -> None:
    _, chosen = stratified_split(labels, fraction, seed)
    for label in np.unique(labels):
        samples = int(np.sum(labels == label))
        given_away = int(np.sum(labels[chosen] == label))
        assert given_away < samples
        if fraction > 0 and samples >= 2:
            assert given_away >= 1
            assert given_away in {1, samples - 1} or abs(given_away - samples * fraction) <= 0.5 + 1e-9
        if fraction == 0:
            assert given_away == 0


@given(LABELS, FRACTIONS, SEEDS)
def test_the_same_seed_chooses_the_same(labels: np.ndarray, fraction: float, seed: int) -> None:
    first, second = stratified_split(labels, fraction, seed), stratified_split(labels, fraction, seed)
    assert np.array_equal(first[1], second[1])


def test_another_seed_chooses_others() -> None:
    labels = np.zeros(1000, np.int32)
    common = np.intersect1d(stratified_split(labels, 0.1, 1)[1], stratified_split(labels, 0.1, 2)[1])
    assert len(common) < 40  # 10 are expected by chance


@pytest.mark.parametrize(("samples", "fraction", "expected"), [(45, 0.1, 5), (44, 0.1, 4), (100, 0.145, 15)])
def test_a_half_is_rounded_up(samples: int, fraction: float, expected: int) -> None:
    assert len(stratified_split(np.zeros(samples, np.int32), fraction, 0)[1]) == expected


def test_the_choice_never_changes() -> None:
    """A checkpoint that is resumed with a later version must not train on what was kept for validation."""
    assert list(stratified_split(np.arange(30) % 3, 0.2, 7)[1]) == [7, 8, 9, 14, 21, 28]


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        stratified_split(np.zeros(3, np.int32), fraction, 0)
