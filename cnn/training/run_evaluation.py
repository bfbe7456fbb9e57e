"""The program that evaluates: how good the network of a run is, as a whole and on each class."""

import dataclasses
import math
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.choices import check_choice, check_counts
from cnn.data.registry import open_dataset
from cnn.data.split import divide_training_part
from cnn.errors import RunError, UserError
from cnn.monitoring.confusion import class_rows, class_table, confusion_table, draw_confusion
from cnn.monitoring.summary import write_json
from cnn.shown_text import on_one_line
from cnn.training.precision import PRECISIONS
from cnn.training.run_data import DATA
from cnn.training.saved_run import NetworkSettings, SavedRun, open_run

if TYPE_CHECKING:
    from cnn.cluster.collectives import Cluster
    from cnn.data.dataset import Dataset, Part
    from cnn.training.evaluation import ClassEvaluation

PARTS = ("test", "validation", "train")

_FEW = 5
"""Of so many classes the five likeliest are all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What it is evaluated on."""

    part: str = "test"
    """test; validation: the training images that the run kept to choose its best checkpoint; or train: all others."""

    data_dir: str | None = None
    """The folder of the data set's files, if it is not where it was when the run was begun."""

    batch_size: int = 100
    """Images that each worker computes in one call, at most, but always 100: more are faster with small networks. No
    result depends on it."""

    def __post_init__(self) -> None:
        check_choice("part", self.part, PARTS)
        check_counts(self, "batch_size")


def evaluate_run(cluster: "Cluster", network: NetworkSettings, settings: EvaluationSettings) -> None:
    """Evaluates, and writes what came of it into the run folder and to the terminal; every rank calls it."""
    from cnn.data.feed import Feed
    from cnn.training.evaluation import Evaluator

    run = _share_run(cluster, network)
    with cluster.together():
        dataset = cluster.done_everywhere(lambda: _open_data(run, settings.data_dir))
        part, samples = _samples(run, dataset, settings.part)
    model = run.build_network()
    step = cluster.from_chief(lambda: run.restore(model, network.checkpoint))
    cluster.broadcast([variable.value for variable in model.variables])
    feed = Feed(dataset, part, PRECISIONS[run.settings.step.precision], resident_mb=run.settings.data.resident_mb)
    evaluation = Evaluator(model, feed, samples, cluster, batch_size=settings.batch_size)()
    if not math.isfinite(evaluation.loss):
        raise RunError(
            f"the network of {run.folder} after step {step:,} gives infinite or no numbers for {settings.part} images: "
            "nothing can be told of it; choose another --checkpoint, or train with a smaller --learning_rate.",
            agreed=True,
        )
    if cluster.is_chief:
        _tell(run, step, settings.part, evaluation)


def _share_run(cluster: "Cluster", network: NetworkSettings) -> SavedRun:
    """The run, which only rank 0's host need have."""

    def open_here() -> dict[str, Any]:
        run = open_run(network.folder)
        run.checkpoint_path(network.checkpoint)  # before data is read in vain
        return run.plain()

    return SavedRun.from_plain(cluster.from_chief(open_here))


def _open_data(run: SavedRun, data_dir: str | None) -> "Dataset":
    data = run.settings.data
    data = data if data_dir is None else dataclasses.replace(data, data_dir=data_dir)
    dataset = open_dataset(data, division=run.data.division)
    if dataset.checksum != run.data.checksum:
        raise UserError(
            f"the data set {data.data} is not the one that {run.folder} was trained on (its checksum is another): give "
            "the --data_dir of that one."
        )
    if (dataset.classes, dataset.image_shape, dataset.input_shape) != (
        run.data.classes,
        run.data.image_shape,
        run.data.input_shape,
    ):
        raise UserError(
            f"what {run.folder / DATA} says of the data set {data.data} is not so: put back what the run wrote there."
        )
    return dataset


def _samples(run: SavedRun, dataset: "Dataset", name: str) -> tuple["Part", np.ndarray]:
    """The data set's part, and which of its images to look at."""
    if name == "test":
        return dataset.test, np.arange(len(dataset.test.labels))
    fraction = run.settings.data.validation_fraction
    training, validation = divide_training_part(dataset, fraction, run.settings.run.seed)
    samples = training if name == "train" else validation
    if not len(samples):
        raise UserError(f"{run.folder} kept no images for validation: give --part test or train.")
    return dataset.train, samples


def _tell(run: SavedRun, step: int, part: str, evaluation: "ClassEvaluation") -> None:
    names, confusion = run.data.class_names, evaluation.confusion
    rows = class_rows(names, confusion)
    few = len(names) <= _FEW
    title = f"{run.settings.model.model} on {run.settings.data.data}"
    result = f"{evaluation.correct:,} of {evaluation.count:,} {part} images right ({100 * evaluation.accuracy:.2f} %)"
    top5 = "" if few else f", top-5 {evaluation.top5:,} ({100 * evaluation.top5 / evaluation.count:.2f} %)"
    print(f"{title}, step {step:,}: {result}{top5}, loss {evaluation.loss:.4f}\n")
    print(f"{class_table(rows)}\n\n{confusion_table(names, confusion, shutil.get_terminal_size().columns)}\n")
    values: dict[str, Any] = {
        "model": run.settings.model.model,
        "data": run.settings.data.data,
        "part": part,
        "step": step,
        "count": evaluation.count,
        "correct": evaluation.correct,
        "accuracy": evaluation.accuracy,
        "top5": None if few else evaluation.top5,
        "loss": evaluation.loss,
        "classes": rows,
        "confusion": confusion.tolist(),
    }
    path = run.folder / f"evaluation-{part}-{step:09d}"
    try:
        write_json(path.with_suffix(".json"), values)
        draw_confusion(names, confusion, path.with_suffix(".png"), f"{title}, step {step:,}\n{result}")
    except OSError as error:
        raise UserError(f"{path}.json cannot be written ({error.strerror}): mend that to have it kept.") from error
    print(f"Kept in {on_one_line(str(path))}.json and .png", flush=True)
