import numpy as np
import pytest

from cnn.data.dataset import Part
from cnn.data.source import RawDataset


def _part(side: int, label: int) -> Part:
    return Part(images=np.zeros((1, side, side, 1), np.uint8), labels=np.full(1, label, np.int32))


def test_parts_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="images"):
        RawDataset(class_names=("a",), train=_part(2, 0), test=_part(3, 0))


@pytest.mark.parametrize("label", [-1, 1])
def test_labels_without_a_class_are_refused(label: int) -> None:
    with pytest.raises(ValueError, match="labels"):
        RawDataset(class_names=("a",), train=_part(2, 0), test=_part(2, label))
