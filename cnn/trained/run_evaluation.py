"""Evaluation of a run's network, overall and per class."""

import dataclasses
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.choices import check_choice, check_counts
from cnn.data.sources.class_folders import list_class_folders
from cnn.data.sources.registry import open_dataset
from cnn.data.split import divide_training_part
from cnn.data.store.damaged_images import left_out_note
from cnn.errors import RunError, UserError
from cnn.learner.metric_table import Metric, metrics_for
from cnn.learner.precision import PRECISIONS
from cnn.learner.totals import Total
from cnn.monitoring.figures.confusion import class_rows, class_table, confusion_table, draw_confusion
from cnn.monitoring.records.summary import write_json
from cnn.runs.data_record import DATA
from cnn.runs.saved_run import NetworkSettings, SavedRun, open_run
from cnn.shown_text import on_one_line
from cnn.terminal import columns
from cnn.trained.labelled_images import read_labelled_images

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster
    from cnn.data.dataset import Dataset, Part
    from cnn.data.feed.feed import Feed
    from cnn.learner.evaluation import Evaluation

PARTS = ("test", "validation", "train")

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """The evaluation."""

    part: str = "test"
    """test; validation: the training images that the run kept to choose its best checkpoint; or train: all others."""

    data_dir: str | None = None
    """Folder of the data set's files, if it has moved since the run was started."""

    class_folders: str | None = None
    """Evaluate other images instead: a folder that holds a folder of images for each class, named like the class."""

    batch_size: int = 100
    """Maximum images per call and worker, rounded down to a multiple of 100, at least 100. Larger is faster for small
    networks. The results do not depend on it."""

    test_time_flip: bool = False
    """Average the class probabilities of each image and its mirror image, at twice the time (Simonyan and Zisserman,
    2014)."""

    def __post_init__(self) -> None:
        check_choice("part", self.part, PARTS)
        check_counts(self, "batch_size")
        if self.class_folders is not None and (self.data_dir is not None or self.part != "test"):
            raise UserError(
                "--class_folders names other images than those of the run, which --part and --data_dir choose: leave "
                "these two out."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Subject:
    """What is evaluated."""

    part: str
    """The data set's part; empty for other images."""

    data: str
    """Name of the data set, or path of the folder of other images."""

    feed: "Feed"
    samples: np.ndarray
    left_out: Sequence[int] = ()

    @property
    def images(self) -> str:
        return f"{self.part} images" if self.part else "images"

    @property
    def file_name(self) -> str:
        """A part of the results' file names."""
        return self.part or f"of-{Path(self.data).resolve().name}"


def evaluate_run(cluster: "Cluster", network: NetworkSettings, settings: EvaluationSettings) -> None:
    """Evaluates, and writes the results to the run folder and the terminal; every rank calls it."""
    from cnn.learner.evaluation import Evaluator

    run = _share_run(cluster, network)
    subject = _part(cluster, run, settings) if settings.class_folders is None else _others(cluster, run, settings)
    model = run.build_network()
    step = cluster.from_chief(lambda: run.restore(model, network.checkpoint))
    cluster.broadcast([variable.value for variable in model.variables])
    evaluator = Evaluator(
        model,
        subject.feed,
        subject.samples,
        cluster,
        batch_size=settings.batch_size,
        left_out=subject.left_out,
        flip=settings.test_time_flip,
    )
    evaluation = evaluator()
    if not math.isfinite(evaluation.means["loss"]):
        raise RunError(
            f"the network of {run.folder} after step {step:,} has outputs that are not finite for {subject.images}, so "
            "it cannot be evaluated: choose another --checkpoint, or train with a smaller --learning_rate.",
            agreed=True,
        )
    if cluster.is_chief:
        _report(run, step, subject, evaluation, flip=settings.test_time_flip)


def _share_run(cluster: "Cluster", network: NetworkSettings) -> SavedRun:
    """Opens the run on rank 0, the only one whose host needs its files, and shares it with all ranks."""

    def open_on_chief() -> dict[str, Any]:
        run = open_run(network.folder)
        run.checkpoint_path(network.checkpoint)  # raises for a wrong checkpoint before data is read
        return run.plain()

    return SavedRun.from_plain(cluster.from_chief(open_on_chief))


def _part(cluster: "Cluster", run: SavedRun, settings: EvaluationSettings) -> _Subject:
    """A part of the run's data set."""
    with cluster.shared_errors():
        dataset = cluster.done_everywhere(lambda: _open_data(run, settings.data_dir))
        part, samples = _samples(run, dataset, settings.part)
    return _Subject(part=settings.part, data=run.settings.data.data, feed=_feed(run, dataset, part), samples=samples)


def _others(cluster: "Cluster", run: SavedRun, settings: EvaluationSettings) -> _Subject:
    """Other images, which are decoded, scaled and standardised as those of the run's data set are."""
    folder = Path(str(settings.class_folders))
    with cluster.shared_errors():
        listed = cluster.done_everywhere(lambda: list_class_folders(folder, run.data.class_names))
    with cluster.shared_errors():
        if len(set(cluster.gather(listed.fingerprint))) > 1:
            raise UserError(f"--class_folders {folder} holds other files on other hosts: copy the same to all of them.")
        part, damaged = read_labelled_images(cluster, listed, run.data.image_shape)
    if cluster.is_chief:
        unreadable = [(listed.files[index].path, reason) for index, reason in sorted(damaged.items())]
        for note in (*listed.notes, *([left_out_note(folder, unreadable)] if unreadable else [])):
            _logger.warning("warning: %s", note)
    if len(damaged) == len(listed.files):
        raise UserError(f"no image in {folder} can be read: name another folder.", agreed=True)
    return _Subject(
        part="",
        data=str(folder),
        feed=_feed(run, run.data.around(part.images), part),
        samples=np.arange(len(listed.files)),
        left_out=sorted(damaged),
    )


def _feed(run: SavedRun, dataset: "Dataset", part: "Part") -> "Feed":
    from cnn.data.feed.feed import Feed

    return Feed(dataset, part, PRECISIONS[run.settings.step.precision], resident_mb=run.settings.feed.resident_mb)


def _open_data(run: SavedRun, data_dir: str | None) -> "Dataset":
    data = run.settings.data
    data = data if data_dir is None else dataclasses.replace(data, data_dir=data_dir)
    dataset = open_dataset(data, division=run.data.division)
    if dataset.checksum != run.data.checksum:
        raise UserError(
            f"the data set {data.data} is not the one that {run.folder} was trained on (its checksum differs): set "
            "--data_dir to the folder of that one, or evaluate other images by --class_folders."
        )
    if (dataset.classes, dataset.image_shape, dataset.input_shape) != (
        run.data.classes,
        run.data.image_shape,
        run.data.input_shape,
    ):
        raise UserError(f"{run.folder / DATA} contradicts the data set {data.data}: restore what the run wrote there.")
    return dataset


def _samples(run: SavedRun, dataset: "Dataset", name: str) -> tuple["Part", np.ndarray]:
    """Returns the data set's part, and the indices of the images to evaluate."""
    if name == "test":
        return dataset.test, np.arange(len(dataset.test.labels))
    fraction = run.settings.run.validation_fraction
    training, validation = divide_training_part(dataset, fraction, run.settings.run.seed)
    samples = training if name == "train" else validation
    if not len(samples):
        raise UserError(f"{run.folder} kept no images for validation: set --part to test or train.")
    return dataset.train, samples


def _report(run: SavedRun, step: int, subject: _Subject, evaluation: "Evaluation", *, flip: bool) -> None:
    names, confusion = run.data.class_names, evaluation.confusion
    rows = class_rows(names, confusion)
    totals, means, metrics = evaluation.totals, evaluation.means, metrics_for(len(names))
    for name, metric in metrics.items():
        if metric.per_class:
            for row, mean in zip(rows, totals[name].means.tolist(), strict=True):
                row[name] = mean
    title = f"{run.settings.model.model} on {on_one_line(subject.data)}{', with mirror images' if flip else ''}"
    correct, count = int(totals["accuracy"].sums[0]), int(totals["accuracy"].samples[0])
    result = f"{correct:,} of {count:,} {subject.images} right ({100 * means['accuracy']:.2f} %)"
    other_names = [*(name for name in metrics if name not in ("accuracy", "loss")), "loss"]
    more = "".join(f", {_shown(metrics[name], totals[name])}" for name in other_names)
    print(f"{title}, step {step:,}: {result}{more}\n")
    print(f"{class_table(rows)}\n\n{confusion_table(names, confusion, columns(sys.stdout))}\n")
    values: dict[str, Any] = {
        "model": run.settings.model.model,
        "data": subject.data,
        "part": subject.part or None,
        "step": step,
        "test_time_flip": flip,
        "count": count,
        "left_out": len(subject.left_out),
        "correct": correct,
        "accuracy": means["accuracy"],
        "top5": int(totals["top5_accuracy"].sums[0]) if "top5_accuracy" in totals else None,
        "loss": means["loss"],
        "metrics": means,
        "classes": rows,
        "confusion": confusion.tolist(),
    }
    path = run.folder / f"evaluation-{subject.file_name}{'-flip' * flip}-{step:09d}"
    try:
        write_json(path.with_name(f"{path.name}.json"), values)  # not with_suffix: the name may hold dots
        draw_confusion(names, confusion, path.with_name(f"{path.name}.png"), f"{title}, step {step:,}\n{result}")
    except OSError as error:
        raise UserError(f"{path}.json cannot be written ({error.strerror}): make it writable, and repeat.") from error
    print(f"Written to {on_one_line(str(path))}.json and .png", flush=True)


def _shown(metric: Metric, total: Total) -> str:
    """Formats a metric's name and value."""
    mean = float(total.mean)
    if not metric.counted:
        return f"{metric.label} {mean:.4f}"
    share = f"{100 * mean:.2f} %"
    return f"{metric.label} {share if metric.per_class else f'{int(total.sums[0]):,} ({share})'}"
