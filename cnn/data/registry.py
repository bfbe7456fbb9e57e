"""The data sets by name, and opening one."""

import os
from dataclasses import dataclass
from pathlib import Path

from cnn.data.cache_folder import cache_folder, explained
from cnn.data.cifar import CIFAR10
from cnn.data.dataset import Dataset
from cnn.data.digits import DIGITS
from cnn.data.download import fetch_missing
from cnn.data.idx import FASHION_MNIST, MNIST
from cnn.data.source import EmbeddedSource, FolderSource
from cnn.data.store import open_store
from cnn.data.synthetic import SYNTHETIC
from cnn.errors import UserError, check_choice

SOURCES: dict[str, EmbeddedSource | FolderSource] = {
    "digits": DIGITS,
    "mnist": MNIST,
    "fashion-mnist": FASHION_MNIST,
    "cifar10": CIFAR10,
    "synthetic": SYNTHETIC,
}


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What is trained on."""

    data: str = "digits"
    """The data set: digits, mnist, fashion-mnist, cifar10 or synthetic."""

    data_dir: str | None = None
    """The folder of the data set's files; what is missing there is downloaded into it. Left out: a folder in the
    cache. digits and synthetic need none."""

    validation_fraction: float = 0.1
    """The part of the training images, 0 to below 1, that is kept from training to choose the best checkpoint by."""

    def __post_init__(self) -> None:
        check_choice("data set", self.data, SOURCES)
        if not 0 <= self.validation_fraction < 1:
            raise UserError(
                f"validation_fraction is {self.validation_fraction}: it must be 0 or more and less than 1, 0.1 say"
            )
        if self.data_dir is not None and isinstance(SOURCES[self.data], EmbeddedSource):
            raise UserError(
                f"data_dir is '{self.data_dir}', but the data set {self.data} is not read from files: leave data_dir "
                "out, or choose another data set"
            )


def open_dataset(settings: DataSettings) -> Dataset:
    """Opens a data set; the first time on a machine it is downloaded, if it must be, and prepared.

    Raises UserError where the folder, a file, the download or the cache is at fault, with what to do about it.
    """
    source = SOURCES[settings.data]
    if isinstance(source, EmbeddedSource):
        return open_store(settings.data, source.read)
    folder = _default_folder(settings.data) if settings.data_dir is None else _checked_folder(settings.data_dir)
    if source.remote is not None:
        fetch_missing(settings.data, source.remote, folder)
    return open_store(settings.data, lambda: source.read(folder), folder, source.files(folder))


def _default_folder(name: str) -> Path:
    folder = cache_folder() / "data" / name
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _checked_folder(data_dir: str) -> Path:
    folder = Path(data_dir).expanduser().absolute()
    if not folder.exists():
        fault = "does not exist on this machine"
    elif not folder.is_dir():
        fault = "is no folder"
    elif not os.access(folder, os.R_OK | os.X_OK):
        fault = "may not be read by you"
    else:
        return folder
    raise UserError(f"data_dir '{data_dir}' {fault}: name the folder of the data set's files, or leave data_dir out")
