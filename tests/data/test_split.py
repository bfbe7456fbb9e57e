import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data.dataset import Dataset, Part
from cnn.data.split import divide_training_part, path_key, split_by_draws, stratified_split

LABELS = st.lists(st.integers(0, 5), max_size=60).map(lambda labels: np.array(labels, np.int32))
FRACTIONS = st.one_of(st.just(0.0), st.floats(1e-9, 1, exclude_max=True))
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
    with pytest.raises(ValueError, match="fraction"):
        split_by_draws(np.zeros(3, np.int32), fraction, np.zeros(3, np.uint64))


@st.composite
def drawn_samples(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Samples of some classes, each with a draw of its own."""
    draws = draw(st.lists(st.integers(0, 2**64 - 1), max_size=60, unique=True))
    labels = draw(st.lists(st.integers(0, 3), min_size=len(draws), max_size=len(draws)))
    return {"labels": np.array(labels, np.int32), "draws": np.array(draws, np.uint64)}


@given(drawn_samples(), FRACTIONS)
def test_low_draws_are_chosen_and_every_class_keeps_one(samples: dict[str, np.ndarray], fraction: float) -> None:
    labels, draws = samples["labels"], samples["draws"]
    rest, chosen = split_by_draws(labels, fraction, draws)
    assert sorted([*rest, *chosen]) == list(range(len(labels)))
    assert list(rest) == sorted(rest)
    assert list(chosen) == sorted(chosen)
    for label in np.unique(labels):
        inside, outside = draws[chosen][labels[chosen] == label], draws[rest][labels[rest] == label]
        assert len(outside) >= 1
        assert len(inside) >= (fraction > 0 and len(outside) + len(inside) >= 2)
        if len(inside):
            assert inside.max() < outside.min()
        if len(inside) > 1:
            assert inside.max() <= fraction * 2**64
        if len(inside) and len(outside) > 1:
            assert outside.min() >= fraction * 2**64 * (1 - 1e-9)


@given(drawn_samples(), FRACTIONS, st.data())
def test_samples_that_are_removed_or_added_move_no_others(
    samples: dict[str, np.ndarray], fraction: float, data: st.DataObject
) -> None:
    """But in a class that has lost, or got, its only one of a part."""
    labels, draws = samples["labels"], samples["draws"]
    stay = data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels)).map(np.array)).astype(bool)
    chosen = set(draws[split_by_draws(labels, fraction, draws)[1]].tolist())
    fewer = set(draws[stay][split_by_draws(labels[stay], fraction, draws[stay])[1]].tolist())
    for label in np.unique(labels[stay]):
        members = set(draws[stay & (labels == label)].tolist())
        if 0 < len(chosen & members) < len(members):
            assert fewer & members == chosen & members


def _dataset(labels: np.ndarray, **more: object) -> Dataset:
    part = Part(images=np.zeros((len(labels), 1, 1, 1), np.uint8), labels=labels)
    return Dataset(
        name="x", class_names=("a", "b"), train=part, test=part, mean=(0,), standard_deviation=(1,), checksum="", **more
    )  # type: ignore[arg-type]


def test_the_validation_part_follows_the_keys_wherever_the_samples_are() -> None:
    labels, keys = np.arange(200, dtype=np.int32) % 2, np.array([path_key(f"{i}.jpg") for i in range(200)], np.uint64)
    training, validation = divide_training_part(_dataset(labels, train_keys=keys), 0.2, seed=1)
    assert 20 < len(validation) < 60
    turned = _dataset(labels[::-1].copy(), train_keys=keys[::-1].copy())
    again = divide_training_part(turned, 0.2, seed=1)
    assert set(keys[::-1][again[1]]) == set(keys[validation])
    assert set(divide_training_part(_dataset(labels, train_keys=keys), 0.2, seed=2)[1]) != set(validation)
    assert sorted([*training, *validation]) == list(range(200))


def test_a_validation_part_of_its_own_is_that_one() -> None:
    dataset = _dataset(np.zeros(10, np.int32), validation_images=3)
    training, validation = divide_training_part(dataset, 0.5, seed=1)
    assert (training.tolist(), validation.tolist()) == (list(range(7)), [7, 8, 9])


def test_the_validation_part_is_drawn_otherwise_than_the_test_part() -> None:
    """Else with the seed of the test part none would be left for validation."""
    keys = np.array([path_key(f"a/{i}.jpg") for i in range(1000)], np.uint64)
    for seed in (20, 24):
        _, validation = divide_training_part(_dataset(np.zeros(1000, np.int32), train_keys=keys), 0.2, seed)
        assert 150 < len(validation) < 250


def test_a_path_is_the_same_however_its_accents_are_encoded() -> None:
    assert path_key("caf\u00e9/1.jpg") == path_key("cafe\u0301/1.jpg") != path_key("cafe/1.jpg")
    assert path_key("\udcff.jpg") < 2**64
    assert path_key("a/1.jpg") == 50258119939534515
