"""The sources of data sets: the interface that a new data set needs for a row in the registry."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from cnn.data.dataset import Division, Part


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawDataset:
    """A source's images, labels and class names, from which everything else is computed."""

    class_names: tuple[str, ...]
    train: Part
    test: Part

    def __post_init__(self) -> None:
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise ValueError(f"images of {self.train.images.shape[1:]} and {self.test.images.shape[1:]}")
        for labels in (self.train.labels, self.test.labels):
            if labels.min() < 0 or labels.max() >= len(self.class_names):
                raise ValueError(f"labels {labels.min()} to {labels.max()}, but {len(self.class_names)} classes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remote:
    """Files that can be downloaded."""

    base_url: str
    """Ends in a slash; a file's name follows it."""

    md5: Mapping[str, str]
    """The checksum of each file by its name; a `.tar.gz` or `.tgz` is unpacked."""

    missing: Callable[[Path], list[str]]
    """Returns the names of the files that a folder still lacks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddedSource:
    """A data set that is part of the program or its packages."""

    read: Callable[[], RawDataset]

    any_size: bool = False
    """Whether its images may be enlarged to a network's input size."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderSource:
    """A data set in files of a folder."""

    read: Callable[[Path], RawDataset]
    """Reads the folder; raises UserError, naming the file, for anything missing or damaged."""

    files: Callable[[Path], list[Path]]
    """Returns the existing files in the folder that `read` would read, sorted."""

    remote: Remote | None = None


class ImageFile(NamedTuple):
    """A file that holds one image."""

    path: str
    """Relative to the data set's folder."""

    label: int
    """The class, from 0 on."""

    bytes: int
    """The file's size; -1 if it cannot be read."""

    changed: int
    """The modification time in nanoseconds; 0 if there is none."""

    key: int
    """A number below 2**64 that depends on the name alone; it decides which part the image is in."""

    change_time: int
    """The change time (ctime), which no program can set, in nanoseconds; 0 if there is none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageIndex:
    """The image files of a data set, listed without reading their content."""

    class_names: tuple[str, ...]
    train: list[ImageFile]
    test: list[ImageFile]
    validation: list[ImageFile] = dataclasses.field(default_factory=list)
    """The data set's own validation part, if it has one."""

    division: Division = "by name"

    notes: tuple[str, ...] = ()
    """Sentences for the user on how the files were interpreted and which were left out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSource:
    """A data set of image files, which may be of any size."""

    index: Callable[..., ImageIndex]
    """Lists the images in an order that depends on their names alone, given a folder, a `division` and, if there are
    several official splits, the number `split`. Raises UserError if they do not make up a data set. It is called
    whenever the data set is opened, so it must be fast."""

    splits: int = 1
    """The number of official divisions into training and test images."""

    remote: Remote | None = None
    """None: the images are the user's own, and the user must name their folder."""


Source = EmbeddedSource | FolderSource | ImageSource
