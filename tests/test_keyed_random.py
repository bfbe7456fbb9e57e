"""Random numbers from keys: fixed for ever, the same in numpy and on the device, and without visible pattern."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn.keyed_random import fold32, fold64, hash_tensor, mix64


def test_mix64_is_splitmix64() -> None:
    """First outputs of the published generator for these seeds."""
    assert int(mix64(np.array(0))) == 0xE220A8397B1DCDAF
    assert int(mix64(np.array(1234567))) == 6457827717110365317


def test_fold_stays_as_it_is() -> None:
    """Another value here breaks every run that is resumed by the new version."""
    words = [0x035A758BA7F606E1, 0x78F1281CF4DFFB19, 0x2485B926BC75DC94]
    assert fold64(1, 2, np.arange(3)).tolist() == words
    assert fold32(1, 2, np.arange(3)).tolist() == [word >> 32 for word in words]
    assert int(fold64(5)) == 0xFAD6E24671254235


def test_hash_tensor_stays_as_it_is() -> None:
    """Another value here gives every resumed run other dropout masks."""
    bits = hash_tensor(tf.constant([0, 1, 0xDEADBEEF], tf.uint32), 3, salt=0x12345678).numpy()
    assert bits.tolist() == [
        [0xC84DD224, 0x4A71EDC5, 0x43B50EDF],
        [0x254AF71E, 0xF407D975, 0x9833B67B],
        [0x56C25F6E, 0xB8497B89, 0xA59ABC6A],
    ]


def splitmix(value: int) -> int:
    """SplitMix64's output function in Python's integers."""
    word = 2**64 - 1
    x = (value + 0x9E3779B97F4A7C15) & word
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & word
    x = (x ^ x >> 27) * 0x94D049BB133111EB & word
    return x ^ x >> 31


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**63 - 1), max_size=4))
def test_fold_is_its_formula(parts: list[int]) -> None:
    key = 0
    for part in parts:
        key = splitmix(key ^ splitmix(part))
    assert int(fold64(*parts)) == key
    assert int(fold32(*parts)) == key >> 32


def test_fold_broadcasts() -> None:
    table = fold64(3, np.arange(4)[:, np.newaxis], np.arange(5))
    assert table.shape == (4, 5)
    assert table.dtype == np.uint64
    assert table[2, 3] == fold64(3, 2, 3)
    assert fold32(3, np.arange(4)).dtype == np.uint32


def test_the_order_and_number_of_parts_matter() -> None:
    assert len({int(fold64(*parts)) for parts in [(1, 2), (2, 1), (1, 2, 0), (0, 1, 2), (1,), (3,), (0,), ()]}) == 8


def lowbias(x: int) -> int:
    """Wellons's lowbias32 of 2023 in Python's integers."""
    x = (x ^ x >> 16) * 0x21F0AAAD & 0xFFFFFFFF
    x = (x ^ x >> 15) * 0x735A2D97 & 0xFFFFFFFF
    return x ^ x >> 15


@pytest.mark.parametrize("compiled", [False, True])
def test_hash_tensor_is_its_formula(compiled: bool) -> None:
    keys = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xDEADBEEF, 0xFFFFFFFF]
    units, salt = 9, 0xF2345678
    function = tf.function(hash_tensor) if compiled else hash_tensor
    bits = function(tf.constant(keys, tf.uint32), units, salt).numpy()
    expected = []
    for key in keys:
        salted = (key ^ salt) * 0x21F0AAAD & 0xFFFFFFFF
        salted ^= salted >> 15
        expected.append([lowbias((salted + unit * 0x9E3779B9) & 0xFFFFFFFF) for unit in range(units)])
    assert bits.dtype == np.uint32
    assert bits.tolist() == expected


def bits_of(words: np.ndarray) -> np.ndarray:
    """uint32 (...) to 0 and 1 (..., 32)."""
    return (words[..., np.newaxis] >> np.arange(32, dtype=np.uint32)) & 1


SAMPLES, UNITS = 400, 300
SIGMA = 0.5 / np.sqrt(SAMPLES * UNITS)


@pytest.fixture(params=["neighbouring keys", "keys of an epoch"])
def table(request: pytest.FixtureRequest) -> np.ndarray:
    keys = np.arange(SAMPLES, dtype=np.uint32) if "neighbouring" in request.param else fold32(1, 0, np.arange(SAMPLES))
    return np.asarray(hash_tensor(tf.constant(keys), UNITS, salt=77))


def test_every_bit_is_set_in_half(table: np.ndarray) -> None:
    assert abs(bits_of(table).mean((0, 1)) - 0.5).max() < 6 * SIGMA


def test_neighbours_have_nothing_in_common(table: np.ndarray) -> None:
    """Of the bits of the next key's or unit's word, half are equal."""
    other_salt = np.asarray(hash_tensor(tf.constant(np.arange(SAMPLES, dtype=np.uint32)), UNITS, salt=78))
    for one, other in (
        (table[1:], table[:-1]),
        (table[:, 1:], table[:, :-1]),
        (table[1:, 1:], table[:-1, :-1]),
        (table, other_salt),
    ):
        assert abs(bits_of(one ^ other).mean((0, 1)) - 0.5).max() < 6 * SIGMA


def test_no_word_is_common(table: np.ndarray) -> None:
    """120,000 of 2**32: 1.7 pairs are expected by chance."""
    assert table.size - len(np.unique(table)) < 12
