import hashlib

import numpy as np

from cnn.data.synthetic import SYNTHETIC

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
