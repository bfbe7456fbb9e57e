"""Data sets in memory, in the form that is common to all sources."""

import dataclasses
from typing import Literal, TypeAlias

import numpy as np

from cnn.data.jpeg_images import JpegImages

Images: TypeAlias = np.ndarray | JpegImages
"""uint8 images (samples, height, width, channels), in an array or as JPEG records that are decoded when indexed."""

Division = Literal["by name", "by place"]
"""How images are assigned to the test and validation parts: by each image's name, or by its position in the list of
all images, as in the first versions for image files; runs of these must keep their parts when they are resumed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """The training or test part of a data set; raises ValueError if the two arrays do not match."""

    images: Images
    """uint8 (samples, height, width, channels)."""

    labels: np.ndarray
    """int32 (samples,): class indices from 0 on."""

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or 0 in self.images.shape:
            raise ValueError(f"images are {self.images.dtype} {self.images.shape}, not four-dimensional uint8")
        if self.labels.dtype != np.int32 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels are {self.labels.dtype} {self.labels.shape}, not one int32 per image")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set ready for training."""

    name: str
    class_names: tuple[str, ...]
    train: Part
    test: Part

    mean: tuple[float, ...]
    """Mean of each channel over the training images, in units of pixel / 255."""

    standard_deviation: tuple[float, ...]
    """Standard deviation of each channel over the training images, in units of pixel / 255."""

    checksum: str
    """Identifies the content: equal on two machines if and only if images, labels and class names are equal."""

    input_size: int | None = None
    """Side in pixels of the square crop that is the network's input, for stored images that are larger; None if the
    input is the complete image."""

    train_keys: np.ndarray | None = None
    """uint64 (samples,): for each training image a number derived from its name, by which validation images are drawn;
    None if images are divided by position."""

    validation_images: int = 0
    """Number of training images, the last ones, that are the data set's own validation part; 0 if it has none."""

    @property
    def division(self) -> Division:
        """How the images were assigned to parts."""
        return "by place" if self.train_keys is None else "by name"

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the stored images."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the network's input."""
        if self.input_size is None:
            return self.image_shape
        return self.input_size, self.input_size, self.image_shape[2]
