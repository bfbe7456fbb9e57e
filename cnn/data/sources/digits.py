"""A data set of 1,797 handwritten digits, which needs no download.

digits.csv.gz is the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (UCI Machine
Learning Repository, https://doi.org/10.24432/C50P49, licensed CC BY 4.0), in the form in which scikit-learn distributes
it: a line for each image, with its 8x8 pixels from 0 to 16, row by row, and its class.
"""

from pathlib import Path

import numpy as np

from cnn.data.dataset import Part
from cnn.data.source import EmbeddedSource, RawDataset
from cnn.data.split import stratified_split

# Constant, so that the test digits are the same for all users.
_TEST_FRACTION = 0.2
_SPLIT_SEED = 1797

_ENLARGEMENT = 4


def read() -> RawDataset:
    """Reads the digits as 32x32x1 images: 1,438 for training and 359 for testing."""
    table = np.loadtxt(Path(__file__).with_name("digits.csv.gz"), dtype=np.int64, delimiter=",")
    images = (table[:, :-1].reshape(-1, 8, 8) * 255 + 8) // 16  # from 0..16 to 0..255, rounded
    images = images.repeat(_ENLARGEMENT, axis=1).repeat(_ENLARGEMENT, axis=2)[..., np.newaxis].astype(np.uint8)
    labels = table[:, -1].astype(np.int32)
    train, test = stratified_split(labels, _TEST_FRACTION, _SPLIT_SEED)
    return RawDataset(
        class_names=tuple("0123456789"),
        train=Part(images=images[train], labels=labels[train]),
        test=Part(images=images[test], labels=labels[test]),
    )


DIGITS = EmbeddedSource(read=read)
