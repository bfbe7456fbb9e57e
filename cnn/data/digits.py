"""scikit-learn's handwritten digits: 1,797 real ones, which need no network."""

import numpy as np

from cnn.data.dataset import Part
from cnn.data.source import EmbeddedSource, RawDataset
from cnn.data.split import stratified_split

# Constants: everybody's test digits are the same ones.
_TEST_FRACTION = 0.2
_SPLIT_SEED = 1797

_ENLARGEMENT = 4


def read() -> RawDataset:
    """The digits as 32x32x1: 1,438 to train and 359 to test."""
    from sklearn.datasets import load_digits  # it takes a second

    bunch = load_digits()
    images = (bunch.images.astype(np.int64) * 255 + 8) // 16  # from 0..16, rounded
    images = images.repeat(_ENLARGEMENT, axis=1).repeat(_ENLARGEMENT, axis=2)[..., np.newaxis].astype(np.uint8)
    labels = bunch.target.astype(np.int32)
    train, test = stratified_split(labels, _TEST_FRACTION, _SPLIT_SEED)
    return RawDataset(
        class_names=tuple("0123456789"),
        train=Part(images=images[train], labels=labels[train]),
        test=Part(images=images[test], labels=labels[test]),
    )


DIGITS = EmbeddedSource(read=read)
