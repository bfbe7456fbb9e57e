"""Pixels standardised as published networks expect them."""

import dataclasses

import numpy as np
import pytest

from cnn.data.dataset import Dataset, Part
from cnn.data.preprocessing import PREPROCESSING, preprocessed
from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.errors import UserError


def dataset(channels: int) -> Dataset:
    part = Part(images=np.zeros((1, 2, 2, channels), np.uint8), labels=np.zeros(1, np.int32))
    own = (0.25,) * channels
    return Dataset(name="a", class_names=("b",), train=part, test=part, mean=own, standard_deviation=own, checksum="")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dataset", (255 / 255 - 0.25) / 0.25),
        ("torch", (1 - 0.406) / 0.225),
        ("caffe", 255 - 103.939),
        ("tf", 1.0),
        ("unit", 1.0),
    ],
)
def test_white_is(name: str, expected: float) -> None:
    found = preprocessed(dataset(3), name)
    assert (1 - found.mean[2]) / found.standard_deviation[2] == pytest.approx(expected)
    assert len(found.mean) == len(found.standard_deviation) == 3


def test_images_with_other_channels() -> None:
    for name in PREPROCESSING:
        if name in ("torch", "caffe"):
            with pytest.raises(UserError, match=f"{name} is for images of 3 channels, but those of a have 1"):
                preprocessed(dataset(1), name)
        else:
            assert len(preprocessed(dataset(1), name).mean) == 1


def test_an_opened_data_set_has_what_the_settings_say() -> None:
    settings = DataSettings(data="synthetic", preprocessing="tf")
    assert open_dataset(settings).mean == (0.5, 0.5, 0.5)
    own = open_dataset(dataclasses.replace(settings, preprocessing=None))
    assert own.mean != (0.5, 0.5, 0.5)
    with pytest.raises(UserError, match="unknown preprocessing 'imagenet'"):
        DataSettings(preprocessing="imagenet")
