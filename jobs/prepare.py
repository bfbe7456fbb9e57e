"""Prepares a data set on this machine, as training would do at its start, and describes it.

python jobs/prepare.py --data folder --data_dir photographs
python jobs/prepare.py --data oxflower17 --image_size 64 --verify
bash launch/mpirun.sh -H a:1,b:1 --program jobs/prepare.py -- --data folder --data_dir photographs

Several processes, on any hosts that share the cache folder, share the work.
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
import dataclasses
import os

from cnn.cluster.launchers.process import launch_from_environment
from cnn.data.dataset import Dataset
from cnn.data.jpeg_images import JpegImages
from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.data.store.preparation_progress import PreparationProgress
from cnn.data.store.source_record import count_sources
from cnn.data.store.store_files import folder_of
from cnn.errors import report_errors
from cnn.settings.settings import parse_settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparationSettings:
    """The preparation."""

    verify: bool = False
    """Read all source files and all prepared arrays, and compare them with their checksums. Otherwise, as in training,
    a file is read again only if its change time, which no program can set, is new; prepared arrays are always read if
    they total at most 64 MiB. Where files can change without a new change time (FAT, mounted object storage, a failing
    disk), only --verify detects it. Changed data is prepared again."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a preparation."""

    data: DataSettings
    preparation: PreparationSettings


def parse() -> Settings:
    return parse_settings(str(__doc__), Settings)


def describe(dataset: Dataset, progress: PreparationProgress, *, verified: bool) -> str:
    """Returns lines about the data set's classes, parts, sizes and preparation."""
    import numpy as np  # after cnn, which reports a Python that lacks it

    store = folder_of(dataset)
    megabytes = sum(path.stat().st_size for path in store.iterdir()) / 1e6
    lines = [f"{dataset.name}: {dataset.classes} classes, {', '.join(dataset.class_names)}"]
    training = len(dataset.train.labels) - dataset.validation_images
    parts = {"training": dataset.train.labels[:training], "validation": dataset.train.labels[training:]}
    for name, labels in (*parts.items(), ("test", dataset.test.labels)):
        counts = np.bincount(labels, minlength=dataset.classes)
        if len(labels):
            lines.append(f"{len(labels):,} {name} images, {counts.min():,} to {counts.max():,} per class")
    storage = {np.memmap: "stored", JpegImages: "stored as JPEG"}.get(type(dataset.train.images), "scaled to")
    lines.append(
        f"{storage} {'x'.join(map(str, dataset.image_shape))}, network input {'x'.join(map(str, dataset.input_shape))}"
    )
    lines.append(f"{megabytes:,.1f} MB in {store}")
    if verified:
        sources = count_sources(store)
        files = f"all {sources:,} source files and " if sources > 1 else "the source file and " if sources else ""
        lines.append(f"compared with their checksums: {files}all prepared arrays; nothing differs")
    if progress.images and progress.seconds:
        speed = progress.images / progress.seconds
        lines.append(f"decoded {progress.images:,} images in {progress.seconds:,.1f} s, {speed:,.0f} per second")
    return "\n".join(lines)


def main() -> None:
    settings = parse()
    progress = PreparationProgress()
    dataset = open_dataset(settings.data, progress=progress, verify=settings.preparation.verify)
    progress.print_notes()  # notes of an earlier preparation
    if launch_from_environment(os.environ).rank == 0:  # whichever rank began
        print(describe(dataset, progress, verified=settings.preparation.verify))


if __name__ == "__main__":
    with report_errors("run it again to resume"):
        main()
