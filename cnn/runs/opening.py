"""What a run says at its start: what is trained, on what, with whom, and where the results are written."""

import math
import os
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np

from cnn.cluster.ranks.collectives import Cluster
from cnn.data.dataset import Dataset
from cnn.data.order import SampleOrder
from cnn.optim.frozen_layers import changing_variables
from cnn.settings.settings import RunSettings
from cnn.shown_text import counted, on_one_line
from cnn.terminal import columns, has_terminal

_FEW_PER_EPOCH, _FEW = 10, 300
"""Numbers of steps with which a network has hardly learned."""

_MIN_BATCH_SIZE = 8


def opening_lines(
    *,
    cluster: Cluster,
    name: str,
    model: keras.Model,
    dataset: Dataset,
    parts: tuple[int, int],
    order: SampleOrder,
    start_step: int,
    total_steps: int,
    folder: Path,
) -> list[str]:
    """Describes the run in a few lines.

    Args:
        cluster: the workers.
        name: the network's name.
        model: the network.
        dataset: the data set.
        parts: the numbers of training and validation images.
        order: the sequence of samples.
        start_step: 0, or the step that the run resumes from.
        total_steps: step at which the run ends.
        folder: the run's folder.
    """
    width = columns(sys.stdout) if has_terminal(sys.stdout, os.environ) else sys.maxsize
    training, validation = parts
    images = f"{training:,} training, {validation:,} validation, {len(dataset.test.labels):,} test images"
    batch = min(order.global_batch_size, training)
    epochs = f"{counted(total_steps, 'step')} ({total_steps / order.steps_per_epoch:.4g} epochs)"
    resumed = f", resumed after step {start_step:,}" if start_step else ""
    texts = [
        f"{name}: {_parameters(model)}, {'x'.join(map(str, dataset.input_shape))} images",
        f"{on_one_line(dataset.name)}: {dataset.classes:,} classes; {images}",
        f"{_workers(cluster)}; {batch:,} images a step{_shares(order, batch, cluster.world_size)}",
        f"{epochs}{resumed}",
        f"run folder: {on_one_line(str(folder))}",
    ]
    return [textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False) for text in texts]


def _parameters(model: keras.Model) -> str:
    count = model.count_params()
    frozen = count - sum(math.prod(variable.shape) for variable in changing_variables(model))
    return f"{count:,} parameters" + (f" ({frozen:,} of them frozen)" if frozen else "")


def few_steps(order: SampleOrder, run: RunSettings, total_steps: int) -> str:
    """A message for data sets so small that a run of the usual length has few steps; empty for others."""
    images, steps_per_epoch = len(order.samples), order.steps_per_epoch
    if run.steps is not None or steps_per_epoch >= _FEW_PER_EPOCH or total_steps >= _FEW:
        return ""
    fitting = max(_MIN_BATCH_SIZE, 2 ** max(0, round(math.log2(images / 6))))
    batch_size = min(fitting, order.global_batch_size)
    epochs = math.ceil(_FEW / math.ceil(images / batch_size) / 10) * 10
    settings = (
        f"--epochs {epochs}"
        if batch_size == order.global_batch_size
        else f"--global_batch_size {batch_size} --epochs {epochs}"
    )
    verb = "makes" if images == 1 else "make"
    return (
        f"warning: {counted(images, 'training image')} {verb} {counted(total_steps, 'step')} in all, and networks need "
        f"hundreds to learn: try {settings}."
    )


def own_validation(dataset: Dataset) -> str:
    """A message for data sets with their own validation part, for which --validation_fraction is not used."""
    images = dataset.validation_images
    return f"validation: the data set's own part, {images:,} images" if images else ""


def range_of_class_weights(dataset: Dataset, weights: np.ndarray | None) -> str:
    """A message that names the classes with the smallest and the largest weight; empty if all weigh the same."""
    if weights is None:
        return ""
    ends = (f"{weights[label]:.3g} ({dataset.class_names[label]})" for label in (weights.argmin(), weights.argmax()))
    return f"class weights: from {' to '.join(ends)}"


def _workers(cluster: Cluster) -> str:
    hosts = list(dict.fromkeys(host for host, _ in cluster.peers))
    where = f" on {', '.join(hosts)}" if len(hosts) <= 4 else f" on {len(hosts)} hosts"
    gpu = {"none": counted(cluster.cores.threads, "thread"), "exclusive": "a GPU", "shared": "a shared GPU"}
    device = gpu[cluster.devices.gpu]
    each = " each" if cluster.world_size > 1 else ""
    return f"{counted(cluster.world_size, 'worker')}{where if cluster.world_size > 1 else ''}, {device}{each}"


def _shares(order: SampleOrder, batch: int, workers: int) -> str:
    if workers == 1:
        return ""
    counts = order.shares(workers)
    smallest, largest = min(counts), max(counts)
    return f", {smallest:,}{'' if smallest == largest else f' to {largest:,}'} per worker"
