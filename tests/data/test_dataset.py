import dataclasses

import numpy as np
import pytest

from cnn.data.dataset import Dataset, Part

IMAGES = np.zeros((3, 5, 4, 2), np.uint8)
LABELS = np.zeros(3, np.int32)


def test_a_data_set_knows_its_shape_and_classes() -> None:
    part = Part(images=IMAGES, labels=LABELS)
    dataset = Dataset(
        name="x",
        class_names=("a", "b"),
        train=part,
        test=part,
        mean=(0.0,),
        standard_deviation=(1.0,),
        checksum="",
    )
    assert dataset.image_shape == dataset.input_shape == (5, 4, 2)
    assert dataclasses.replace(dataset, input_size=3).input_shape == (3, 3, 2)
    assert dataset.classes == 2


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (IMAGES.astype(np.float32), LABELS),
        (IMAGES[0], LABELS),
        (IMAGES[:0], LABELS[:0]),
        (IMAGES, LABELS[:2]),
        (IMAGES, LABELS.astype(np.int64)),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(images: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="^(images|labels) are"):
        Part(images=images, labels=labels)
