"""The table of data sets by name, and the function that opens one."""

import dataclasses
import os
from pathlib import Path

from cnn.choices import check_choice, one_of, own_default
from cnn.data.dataset import Dataset, Division
from cnn.data.images.image_file import DECODER, MINIMUM_SIDE
from cnn.data.jpeg_record import FORM
from cnn.data.preprocessing import PREPROCESSING, preprocessed
from cnn.data.source import EmbeddedSource, ImageSource, Source
from cnn.data.sources.cifar import CIFAR10, CIFAR100
from cnn.data.sources.digits import DIGITS
from cnn.data.sources.download import fetch_missing
from cnn.data.sources.folder import FOLDER
from cnn.data.sources.idx import FASHION_MNIST, MNIST
from cnn.data.sources.oxflower17 import OXFLOWER17
from cnn.data.sources.synthetic import SYNTHETIC, enlarged
from cnn.data.store.cache_folder import cache_folder, explained
from cnn.data.store.damaged_images import refuse_left_out
from cnn.data.store.image_store import open_image_store
from cnn.data.store.known_folder import KnownFolder
from cnn.data.store.local_copy import opened_locally
from cnn.data.store.preparation_progress import PreparationProgress
from cnn.data.store.store import open_store
from cnn.data.store.store_files import FORMAT
from cnn.errors import UserError

SOURCES: dict[str, Source] = {
    "digits": DIGITS,
    "mnist": MNIST,
    "fashion-mnist": FASHION_MNIST,
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "oxflower17": OXFLOWER17,
    "folder": FOLDER,
    "synthetic": SYNTHETIC,
}

_IMAGE_SIZE = 224
_DAMAGED = ("refuse", "skip")
_STORES = ("auto", "raw", "jpeg")

_MAX_RAW_BYTES = 50_000_000_000
"""Bytes of pixels that are stored raw by default, those of a quarter of a million photographs of 256x256. A constant:
hosts with other disks, and a run that is resumed when less space is free, get the same images."""

LARGEST_IMAGE_SIZE = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The data set."""

    data: str = one_of(lambda: SOURCES, "digits")
    """Name of the data set. folder is for your own images: one folder per class, either directly in --data_dir or in
    its subfolders train, test and, optionally, validation."""

    data_dir: str | None = None
    """Folder of the data set's files; missing files are downloaded into it. Default: a folder in the cache. Data
    sets that are not read from files need none."""

    image_size: int | None = None
    """Side in pixels of the network's input images; default: 224 for photographs, 32 for synthetic. The other data
    sets have a fixed size."""

    split: int = 1
    """Number of the official division into training and test images, for data sets that have several, such as
    oxflower17, whose file datasplits.mat must be in --data_dir for divisions 2 and 3."""

    damaged: str = one_of(lambda: _DAMAGED, "refuse")
    """How image files that cannot be read are handled."""

    store: str = one_of(lambda: _STORES, "auto")
    """How image files are stored once they are scaled. raw: as pixels, which is exact, and fastest to read. jpeg: as
    JPEG of quality 90, which takes about a ninth of the space and is decoded again in every epoch. auto: raw if the
    pixels take at most 50 GB."""

    preprocessing: str | None = own_default(lambda: "that of a file of published weights to start from, or dataset")
    """How pixels are standardised for the network. dataset: by the training images' mean and standard deviation; torch
    or caffe: by those of ImageNet's, or by their mean alone, as networks published with PyTorch or Caffe expect; tf:
    from -1 to 1; unit: from 0 to 1."""

    def __post_init__(self) -> None:
        check_choice("data set", self.data, SOURCES)
        check_choice("choice for damaged", self.damaged, _DAMAGED)
        check_choice("store", self.store, _STORES)
        if self.preprocessing is not None:
            check_choice("preprocessing", self.preprocessing, PREPROCESSING)
        source = SOURCES[self.data]
        if self.data_dir is not None and isinstance(source, EmbeddedSource):
            raise UserError(
                f"data_dir is '{self.data_dir}', but the data set {self.data} is not read from files: add --data "
                "folder if it holds your own images, or leave data_dir out."
            )
        if isinstance(source, ImageSource):
            self._check_image_source(source)
        else:
            self._check_other_source(source)
        self._check_split(source.splits if isinstance(source, ImageSource) else 1)

    def _check_image_source(self, source: ImageSource) -> None:
        if self.data_dir is None and source.remote is None:
            raise UserError(
                f"the data set {self.data} needs data_dir: name the folder that holds one folder of images per class."
            )
        self._check_image_size()

    def _check_image_size(self) -> None:
        size = self.image_size
        if size is not None and not MINIMUM_SIDE <= size <= LARGEST_IMAGE_SIZE:
            raise UserError(
                f"image_size is {size}: it must be a whole number from {MINIMUM_SIDE} to {LARGEST_IMAGE_SIZE}, "
                f"for example {_IMAGE_SIZE}."
            )

    def _check_split(self, splits: int) -> None:
        if splits == 1 and self.split != 1:
            raise UserError(
                f"split is {self.split}, but {self.data} has no official splits: leave split out, or choose oxflower17."
            )
        if not 1 <= self.split <= splits:
            raise UserError(f"split is {self.split}: it must be a whole number from 1 to {splits}.")

    def _check_other_source(self, source: Source) -> None:
        if isinstance(source, EmbeddedSource) and source.any_size:
            self._check_image_size()
        elif self.image_size is not None:
            raise UserError(
                f"image_size is {self.image_size}, but the images of {self.data} have a fixed size: leave "
                "image_size out, or choose folder, oxflower17 or synthetic."
            )
        if self.damaged != "refuse":
            raise UserError(
                f"damaged is '{self.damaged}', but {self.data} has no image files to skip: leave damaged out, or "
                "choose folder or oxflower17."
            )
        if self.store != "auto":
            raise UserError(
                f"store is '{self.store}', but {self.data} has no image files to scale and store: leave store out, or "
                "choose folder or oxflower17."
            )


def open_dataset(
    settings: DataSettings,
    *,
    division: Division = "by name",
    progress: PreparationProgress | None = None,
    verify: bool = False,
) -> Dataset:
    """Opens a data set; at its first use on a machine it is downloaded, if necessary, and prepared.

    Args:
        settings: the data set's name, folder and options.
        division: how image files are divided into parts; "by place" only for runs that were started with it.
        progress: reports the progress of preparing image files; None: a new one.
        verify: compare the content of all source files, and of the store, with their checksums.

    Raises:
        UserError: the folder, a file, the download or the cache is at fault; the text says what to do about it.
        RunError: the preparation failed.
    """
    dataset = _open(settings, division, progress, verify)
    return preprocessed(dataset, settings.preprocessing or "dataset")


def _open(settings: DataSettings, division: Division, progress: PreparationProgress | None, verify: bool) -> Dataset:
    source = SOURCES[settings.data]
    if isinstance(source, EmbeddedSource):
        dataset = open_store(settings.data, source.read, verify=verify)
        return dataset if settings.image_size is None else enlarged(dataset, settings.image_size)
    folder = _default_folder(settings.data) if settings.data_dir is None else _checked_folder(settings.data_dir)
    if source.remote is not None:
        fetch_missing(settings.data, source.remote, folder)
    if isinstance(source, ImageSource):
        opened = _open_images(source, folder, settings, division, progress or PreparationProgress(), verify=verify)
    else:
        opened = open_store(settings.data, lambda: source.read(folder), folder, source.files(folder), verify=verify)
    return opened_locally(opened)


def _open_images(
    source: ImageSource,
    folder: Path,
    settings: DataSettings,
    division: Division,
    progress: PreparationProgress,
    *,
    verify: bool,
) -> Dataset:
    size = settings.image_size or _IMAGE_SIZE
    side = stored_size(size)
    choices = [settings.data, settings.split, division, settings.store, _MAX_RAW_BYTES, side, DECODER, FORM, FORMAT]
    known = KnownFolder(folder, choices)
    opened = None if verify else known.open()
    if opened is not None:
        dataset, progress.notes = opened
        if settings.damaged != "skip":
            refuse_left_out(dataset, folder)
        return dataclasses.replace(dataset, input_size=size)
    index = source.index(folder, division=division, **({"split": settings.split} if source.splits > 1 else {}))
    files = len(index.train) + len(index.test) + len(index.validation)
    dataset = open_image_store(
        settings.data,
        folder,
        index,
        side,
        jpeg=_is_jpeg(settings.store, files, side),
        skip_damaged=settings.damaged == "skip",
        progress=progress,
        verify=verify,
    )
    known.remember(dataset, index.notes)
    return dataclasses.replace(dataset, input_size=size)


def stored_size(image_size: int) -> int:
    """Side in pixels of the stored images: larger than the network's input, so that crops of them differ."""
    return image_size * 8 // 7 if image_size >= 64 else image_size


def _is_jpeg(store: str, images: int, size: int) -> bool:
    """Whether images of this side in pixels are stored as JPEG."""
    return store == "jpeg" or (store == "auto" and images * 3 * size**2 > _MAX_RAW_BYTES)


def _default_folder(name: str) -> Path:
    folder = cache_folder() / "data" / name
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _checked_folder(data_dir: str) -> Path:
    try:
        folder = Path(data_dir).expanduser().absolute()
        if not folder.exists():
            fault = "does not exist on this machine"
        elif not folder.is_dir():
            fault = "is not a folder"
        elif not os.access(folder, os.R_OK | os.X_OK):
            fault = "is not readable for you"
        else:
            return folder
    except OSError as error:  # for example no permission for a parent folder
        fault = f"cannot be accessed ({error.strerror})"
    except RuntimeError:
        fault = "begins with a home folder that is unknown on this machine"
    raise UserError(f"data_dir '{data_dir}' {fault}: name the folder of the data set's files, or leave data_dir out.")
