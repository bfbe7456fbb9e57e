"""A run folder's record of its data: enough to predict other images where the data set is not available."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from cnn.data.dataset import Dataset, Division, Images, Part
from cnn.data.folders.loose_images import printable
from cnn.data.sources.registry import LARGEST_IMAGE_SIZE, stored_size
from cnn.errors import UserError
from cnn.foreign_folder import read_file
from cnn.from_json import MAX_JSON_BYTES, from_json, parse_json
from cnn.shown_text import on_one_line
from cnn.whole_file import write_whole

DATA = "data.json"

_MAX_CHANNELS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunData:
    """A data set without its images; RUN/data.json."""

    name: str
    class_names: tuple[str, ...]
    """With control characters escaped, as those of a foreign file might control the terminal."""

    image_shape: tuple[int, int, int]
    """Height, width and channels of the stored images."""

    input_shape: tuple[int, int, int]
    """Height, width and channels of the network's input: the centre of a stored image."""

    mean: tuple[float, ...]
    """Mean of each channel over the training images, in units of pixel / 255."""

    standard_deviation: tuple[float, ...]
    """Standard deviation of each channel over the training images, in units of pixel / 255."""

    checksum: str
    """Checksum of the data set."""

    division: Division = "by place"
    """The rule that divided images into parts; runs of version 0.1.0 do not record it."""

    def __post_init__(self) -> None:
        channels = {len(self.mean), len(self.standard_deviation), self.image_shape[2], self.input_shape[2]}
        numbers = (*self.mean, *self.standard_deviation)
        if min(*self.image_shape, *self.input_shape, self.classes) < 1 or len(channels) > 1:
            raise ValueError("the shapes, classes and channels are inconsistent")
        if max(self.image_shape) > stored_size(LARGEST_IMAGE_SIZE) or self.image_shape[2] > _MAX_CHANNELS:
            raise ValueError("the images are larger than those of any run")
        if any(side > stored for side, stored in zip(self.input_shape, self.image_shape, strict=True)):
            raise ValueError("the network's input is larger than the images")
        if not all(0 <= number <= 1 for number in numbers):
            raise ValueError("the mean and the standard deviation are not between 0 and 1")
        object.__setattr__(self, "name", on_one_line(self.name))
        object.__setattr__(self, "class_names", tuple(map(on_one_line, self.class_names)))

    @property
    def classes(self) -> int:
        return len(self.class_names)

    def around(self, images: Images) -> Dataset:
        """A data set of other images of the stored shape, without a checksum.

        Args:
            images: uint8 (samples, height, width, channels).
        """
        part = Part(images=images, labels=np.zeros(len(images), np.int32))
        return Dataset(
            name=self.name,
            class_names=self.class_names,
            train=part,
            test=part,
            mean=self.mean,
            standard_deviation=self.standard_deviation,
            checksum="",
            input_size=None if self.input_shape == self.image_shape else self.input_shape[0],
        )


def write_data(folder: Path, dataset: Dataset) -> None:
    """Writes a data set's record into a run folder. Raises OSError."""
    values = {field.name: getattr(dataset, field.name) for field in dataclasses.fields(RunData)}
    values["class_names"] = [printable(name) for name in dataset.class_names]  # folder names may hold anything
    write_whole(folder / DATA, json.dumps(values, indent=2).encode() + b"\n")


def read_data(folder: Path) -> RunData:
    """Reads the record that `write_data` wrote; UserError when it is missing or damaged."""
    path = folder / DATA
    try:
        return from_json(RunData, parse_json(read_file(path, MAX_JSON_BYTES)))
    except FileNotFoundError:
        raise UserError(f"{folder} is from an older version, which wrote no {DATA}: train again.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): continue the run with --resume to rewrite it.") from error
