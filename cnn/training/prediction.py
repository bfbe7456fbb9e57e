"""The program that predicts: what the network of a run takes image files for."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnn.data.loose_images import list_images, printable, read_images
from cnn.errors import RunError, UserError
from cnn.monitoring.predictions import Prediction, draw_predictions, prediction_table, write_csv, write_predictions
from cnn.quiet_import import import_tensorflow_quietly
from cnn.training.precision import PRECISIONS
from cnn.training.run_data import RunData
from cnn.training.saved_run import NetworkSettings, SavedRun, open_run

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """What it looks at."""

    images: list[str] = dataclasses.field(default_factory=list)
    """Image files, or folders of them."""

    top: int = 3
    """How many classes to tell of each image, the likeliest first."""

    output: str | None = None
    """Folder for the results; predictions in the run folder when not given. Those that are there are replaced."""

    def __post_init__(self) -> None:
        if not self.images:
            raise UserError("--images is missing: name image files, or folders of them.")
        if self.top < 1:
            raise UserError(f"--top {self.top} is less than 1: give a whole number from 1 on.")


def predict(network: NetworkSettings, settings: PredictionSettings) -> None:
    """Predicts, and writes the predictions to the terminal, as CSV and JSON, and as a picture."""
    run = open_run(network.folder)
    paths = list_images(settings.images)
    images = read_images(paths, run.data.image_shape)
    folder = run.folder / "predictions" if settings.output is None else Path(settings.output)
    run.checkpoint_path(network.checkpoint)
    import_tensorflow_quietly()  # seconds that a mistake need not wait
    model, step = run.load_network(network.checkpoint)
    probabilities = image_probabilities(run, model, images)
    predictions = [
        Prediction(printable(path), _likeliest(row, run.data.class_names, settings.top))
        for path, row in zip(paths, probabilities, strict=True)
    ]
    print(prediction_table(predictions))
    described = {"model": run.settings.model.model, "data": run.settings.data.data, "step": step}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(predictions, folder / "predictions.csv")
        write_predictions(predictions, described, folder / "predictions.json")
        title = "{model} on {data}, step {step:,}".format(**described)
        draw_predictions(predictions, _middle(images, run.data), folder / "predictions.png", title)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another --output.") from error
    print(f"\nKept in {folder}: predictions.csv, .json and .png", flush=True)


def image_probabilities(run: SavedRun, model: "keras.Model", images: np.ndarray) -> np.ndarray:
    """Probabilities (images, classes), float64, of images as they are stored, uint8 (images, height, ...)."""
    from cnn.data.feed import Feed  # TensorFlow
    from cnn.training.classifier import GROUP, Classifier, answered, log_probabilities

    dataset = run.data.around(images)
    resident_mb = images.nbytes // 10**6 + 1
    feed = Feed(dataset, dataset.test, PRECISIONS[run.settings.run.precision], resident_mb=resident_mb)
    group = min(GROUP, len(images))
    classifier = Classifier(model, feed, group=group)
    groups = [np.arange(start, min(start + group, len(images))) for start in range(0, len(images), group)]
    logits = np.concatenate([of_group for of_group, _ in classifier(groups)])
    unanswered = len(images) - int(answered(logits).sum())
    if unanswered:
        raise RunError(
            f"the network of {run.folder} gives infinite or no numbers for {unanswered:,} of {len(images):,} images: "
            "nothing can be told of it; choose another --checkpoint, or train with a smaller --learning_rate."
        )
    return np.asarray(np.exp(log_probabilities(logits)))


def _likeliest(probabilities: np.ndarray, names: tuple[str, ...], top: int) -> list[tuple[str, float]]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [(names[label], float(probabilities[label])) for label in order]


def _middle(images: np.ndarray, data: RunData) -> np.ndarray:
    """What the network sees of them."""
    (height, width, _), (rows, columns, _) = data.image_shape, data.input_shape
    top, left = (height - rows) // 2, (width - columns) // 2
    return images[:, top : top + rows, left : left + columns]
