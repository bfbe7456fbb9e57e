"""How pixels are standardised: by the data set's own mean and standard deviation, or as published networks expect."""

import dataclasses
from typing import NamedTuple

from cnn.data.dataset import Dataset
from cnn.errors import UserError


class Standardisation(NamedTuple):
    """What is subtracted from each channel's pixels, and by what they are divided, in units of pixel / 255."""

    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]


PREPROCESSING = {
    "dataset": None,
    "torch": Standardisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": Standardisation((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3),
    "tf": Standardisation((0.5,), (0.5,)),
    "unit": Standardisation((0.0,), (1.0,)),
}
"""By the names of keras.applications.imagenet_utils.preprocess_input, whose caffe also reverses the channels: here
files of such networks are loaded with their first kernel reversed instead. Each has a number for each channel, or one
for all; None: the data set's own mean and standard deviation."""


def preprocessed(dataset: Dataset, name: str) -> Dataset:
    """A data set with the mean and standard deviation by which its pixels are to be standardised.

    Args:
        dataset: the data set.
        name: a name in PREPROCESSING.

    Raises:
        UserError: the data set has another number of channels.
    """
    fixed = PREPROCESSING[name]
    if fixed is None:
        return dataset
    channels = dataset.image_shape[2]
    if len(fixed.mean) not in (1, channels):
        raise UserError(
            f"--preprocessing {name} is for images of {len(fixed.mean)} channels, but those of {dataset.name} have "
            f"{channels}: choose dataset, tf or unit."
        )
    mean, deviation = (each * (channels // len(each)) for each in fixed)
    return dataclasses.replace(dataset, mean=mean, standard_deviation=deviation)
