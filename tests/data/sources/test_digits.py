import hashlib

import numpy as np

from cnn.data.sources.digits import DIGITS

RAW = DIGITS.read()


def test_all_digits_are_there_enlarged() -> None:
    from sklearn.datasets import load_digits

    images = np.concatenate([RAW.train.images, RAW.test.images])
    assert images.shape == (1797, 32, 32, 1)
    assert images.min() == 0
    assert images.max() == 255
    for row, column in ((0, 3), (3, 0), (3, 3)):  # a pixel has become a square of four by four
        assert np.array_equal(images[:, 0::4, 0::4], images[:, row::4, column::4])
    small = np.sort((images[:, ::4, ::4, 0].astype(float) / 255 * 16).round().reshape(1797, 64), axis=0)
    assert np.array_equal(small, np.sort(load_digits().images.reshape(1797, 64), axis=0))


def test_a_fifth_of_every_class_is_for_the_test() -> None:
    tested, trained = np.bincount(RAW.test.labels), np.bincount(RAW.train.labels)
    assert np.all(np.abs(tested - 0.2 * (tested + trained)) <= 0.5)


def test_the_test_digits_are_the_same_every_time() -> None:
    content = hashlib.sha256(RAW.test.images.tobytes() + RAW.test.labels.tobytes()).hexdigest()
    assert content == "9a613c2c7586274cf6df3073a65bfa5a24f5676d95f9245eebba675b1ae1a638"
