import hashlib

import numpy as np
import pytest

from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.data.sources.synthetic import SYNTHETIC
from cnn.errors import UserError

RAW = SYNTHETIC.read()


def test_shapes_and_balance() -> None:
    assert RAW.train.images.shape == (2000, 32, 32, 3)
    assert RAW.test.images.shape == (500, 32, 32, 3)
    assert set(np.bincount(RAW.train.labels)) == {200}
    assert set(np.bincount(RAW.test.labels)) == {50}


def test_the_images_are_the_same_every_time() -> None:
    content = hashlib.sha256(RAW.train.images.tobytes()).hexdigest()
    assert content == "f825b91f64ba7d36804830193b4a3e98e0c4a235d2949706e29b3e0dadf220c8"


def test_the_classes_can_be_learned() -> None:
    """The mean images of the training part recognise the test part."""
    train = RAW.train.images.reshape(2000, -1).astype(float)
    means = np.stack([train[RAW.train.labels == label].mean(0) for label in range(10)])
    test = RAW.test.images.reshape(500, -1).astype(float)
    scores = test @ means.T - 0.5 * np.sum(means**2, axis=1)
    assert np.mean(scores.argmax(1) == RAW.test.labels) > 0.95


def test_no_image_is_there_twice() -> None:
    images = np.concatenate([RAW.train.images, RAW.test.images])
    assert len({image.tobytes() for image in images}) == 2500


def test_they_can_be_as_large_as_a_network_wants(cache) -> None:
    small = open_dataset(DataSettings(data="synthetic"))
    for size in (64, 100):
        large = open_dataset(DataSettings(data="synthetic", image_size=size))
        assert large.input_shape == large.image_shape == (size, size, 3)
        assert large.checksum != small.checksum
        assert np.array_equal(large.train.labels, small.train.labels)
        for position in (0, 7, size - 1):
            pixel = small.test.images[:, position * 32 // size, 31]
            assert np.array_equal(large.test.images[:, position, size - 1], pixel)


@pytest.mark.parametrize("size", [0, 7, 1025])
def test_sizes_that_are_none(size: int) -> None:
    with pytest.raises(UserError, match=f"image_size is {size}: it must be a whole number from 8 to 1024"):
        DataSettings(data="synthetic", image_size=size)
