"""What every data set is, wherever it came from."""

import dataclasses
from typing import Literal

import numpy as np

Division = Literal["by name", "by place"]
"""What decides which images are in the test or validation part: an image's own name, or its place in the list of all,
as it was for image files in the first runs, whose parts must stay what they were."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """The training or the test part of a data set; ValueError if the two arrays do not belong together."""

    images: np.ndarray
    """uint8 (samples, height, width, channels)."""

    labels: np.ndarray
    """int32 (samples,), from 0 on."""

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or 0 in self.images.shape:
            raise ValueError(f"images are {self.images.dtype} {self.images.shape}, not uint8 of four dimensions")
        if self.labels.dtype != np.int32 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels are {self.labels.dtype} {self.labels.shape}, not an int32 for each image")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set that is ready for training."""

    name: str
    class_names: tuple[str, ...]
    train: Part
    test: Part

    mean: tuple[float, ...]
    """Of each channel over the training images, in units of pixel / 255."""

    standard_deviation: tuple[float, ...]
    """Of each channel over the training images, in units of pixel / 255."""

    checksum: str
    """Identifies the content: equal on two machines if and only if images, labels and names are."""

    input_size: int | None = None
    """Side in pixels of the square that a network gets of each image, where the images leave room to cut it out of
    them; None where it gets the whole image."""

    train_keys: np.ndarray | None = None
    """uint64 (samples,): a number for each training image that follows from its name, by which a part is drawn for
    validation; None where an image is known by its place."""

    validation_images: int = 0
    """How many of the last training images are the part that the data set itself has for validation; 0 if none is."""

    @property
    def division(self) -> Division:
        """What decided which images are in which part."""
        return "by place" if self.train_keys is None else "by name"

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images as they are stored."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what a network gets."""
        if self.input_size is None:
            return self.image_shape
        return self.input_size, self.input_size, self.image_shape[2]
