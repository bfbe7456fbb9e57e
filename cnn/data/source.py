"""Where a data set comes from: what a new one must offer to get a row in the registry."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from cnn.data.dataset import Division, Part


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawDataset:
    """What a source reads: all that cannot be computed from the rest."""

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
    """The checksum of each file that can be downloaded; a `.tar.gz` or `.tgz` is unpacked."""

    missing: Callable[[Path], list[str]]
    """Which of them the folder still needs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddedSource:
    """A data set that travels inside the program."""

    read: Callable[[], RawDataset]

    any_size: bool = False
    """Whether its images may be enlarged to what a network wants."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderSource:
    """A data set in files of a folder."""

    read: Callable[[Path], RawDataset]
    """Reads the folder; raises UserError, naming the file, for anything missing or damaged."""

    files: Callable[[Path], list[Path]]
    """The files in the folder that `read` would read, sorted; those that are missing are left out."""

    remote: Remote | None = None


class ImageFile(NamedTuple):
    """An image in a file of its own."""

    path: str
    """Relative to the data set's folder."""

    label: int
    """From 0 on."""

    bytes: int
    """The file's size; -1 if it cannot be had."""

    changed: int
    """When its content was last changed, as far as its modification time says, in nanoseconds; 0 if there is none."""

    key: int
    """Below 2**64. Decides which part the image is in, so it follows from its name alone."""

    change_time: int
    """When anything of the file was last changed, by its change time, which no program can set; 0 if there is none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageIndex:
    """Which image files make up a data set; their content is not looked at."""

    class_names: tuple[str, ...]
    train: list[ImageFile]
    test: list[ImageFile]
    validation: list[ImageFile] = dataclasses.field(default_factory=list)
    """The part that the data set itself has for validation, if it has one."""

    division: Division = "by name"

    notes: tuple[str, ...] = ()
    """What the user should be told of how the files were understood and of what was left out, in sentences."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSource:
    """A data set of image files, which may be of any size."""

    index: Callable[..., ImageIndex]
    """Called with a folder and a `division`, and with the number of a split as `split` if there are several. Lists the
    images, in an order that depends on their names alone; raises UserError if they do not make up a data set. It is
    called whenever the data set is opened, so it must be quick."""

    splits: int = 1
    """In how many official ways the images are divided into those to train and those to test with."""

    remote: Remote | None = None
    """None: the images are the user's own, and so is the choice of the folder."""


Source = EmbeddedSource | FolderSource | ImageSource
