"""Labelled images that are no data set, for an evaluation: each rank decodes those that it evaluates."""

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnn.data.dataset import Part
from cnn.data.images.image_chunks import read_images
from cnn.data.sources.class_folders import LabelledFiles
from cnn.data.store.cache_folder import cache_folder, explained
from cnn.data.store.work_progress import IMAGES, WorkProgress

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster

_CHUNK_BYTES = 16 << 20


def read_labelled_images(
    cluster: "Cluster", listed: LabelledFiles, shape: tuple[int, int, int]
) -> tuple[Part, Mapping[int, str]]:
    """Reads images into the shape of a data set's stored images; every rank calls it.

    The decoded images are in a file of the cache folder that no longer has a name, so that nothing is left of it.

    Returns:
        A part in which all images of other ranks, and those that cannot be read, are black; and, on every rank, the
        reason why an image cannot be read by its index.

    Raises:
        UserError: the images of the shape are not square, or the cache folder cannot be used.
    """
    from cnn.learner.evaluation import groups_of, own_groups  # TensorFlow

    groups = groups_of(np.arange(len(listed.files)))
    own = [index for number in own_groups(cluster, len(groups)) for index in groups[number].tolist()]
    images, damaged = cluster.done_everywhere(lambda: _read(listed, own, shape, shows_progress=cluster.is_chief))
    everywhere = {index: reason for each in cluster.gather(damaged) for index, reason in each}
    return Part(images=images, labels=listed.labels), everywhere


def _read(
    listed: LabelledFiles, own: Sequence[int], shape: tuple[int, int, int], *, shows_progress: bool
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    indices = {str(listed.folder / listed.files[index].path): index for index in own}
    image_bytes = int(np.prod(shape))
    damaged: list[tuple[int, str]] = []
    folder = cache_folder()
    with contextlib.ExitStack() as ending:
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            file = ending.enter_context(tempfile.TemporaryFile(dir=folder))
            os.truncate(file.fileno(), len(listed.files) * image_bytes)  # takes no space until it is written to
        chunks = read_images([*indices], shape, max(1, min(100, _CHUNK_BYTES // image_bytes)))
        ending.enter_context(contextlib.closing(chunks))
        if shows_progress:
            progress = WorkProgress(f"reading {listed.folder}", done=0, total=len(indices), unit=IMAGES)
            ending.callback(progress.close)
        for chunk in chunks:
            with explained(folder):  # not by way of the map: on a full disk, writing to it would kill the process
                for path, image in zip(chunk.paths, chunk.images, strict=True):
                    file.seek(indices[path] * image_bytes)
                    file.write(image.data)
            damaged += [(indices[path], reason) for path, reason in chunk.damaged]
            if shows_progress:
                progress.add(len(chunk.paths) + len(chunk.damaged))
        with explained(folder):
            file.flush()
        images = np.memmap(file, np.uint8, "r", shape=(len(listed.files), *shape))
    return images.view(np.ndarray), damaged
