"""What TensorBoard shows of a run: curves, pictures, weights, settings, and the run's row among others."""

import math
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cnn.data.dataset import Dataset
from cnn.learner.evaluation import Evaluation
from cnn.learner.first_images import ShownImages
from cnn.learner.metric_table import METRICS
from cnn.models.layer_graph import layer_graph
from cnn.monitoring.tensorboard.event_values import charts, graph, histogram, picture, table, text
from cnn.monitoring.tensorboard.events import EventWriter
from cnn.monitoring.tensorboard.hyperparameters import BEST_ACCURACY, session_end, session_start
from cnn.monitoring.tensorboard.pictures import confusion_picture, filter_grid, image_grid
from cnn.monitoring.tensorboard.rationed_drawing import RationedDrawing
from cnn.runs.run_folder import MAY_DIFFER
from cnn.settings.settings import training_defaults
from cnn.shown_text import on_one_line

_NOT_COMPARED = MAY_DIFFER - {"epochs", "steps", "patience", "initialize_from"}
"""Settings that have no influence on a run's result."""

_CHARTS = {
    "training and validation": {
        "loss": ("loss/train", "loss/validation"),
        "accuracy": ("accuracy/train", "accuracy/validation", BEST_ACCURACY),
    },
}
"""The charts of the CUSTOM SCALARS tab, by category, with the tags of their curves."""

_MAX_RECALLS = 40
"""Maximum number of classes that each have a curve of their recall."""

_BINS = 30
"""Bins of a histogram."""


class TensorBoardLog:
    """Writes a run's events; see `EventWriter` for what happens when they cannot be written.

    Args:
        folder: the run's folder.
        resume_step: None for a new run, and the checkpoint's step for a resumed one.
        dataset: the data set.
    """

    def __init__(self, folder: Path, resume_step: int | None, dataset: Dataset | None = None) -> None:
        self._events = EventWriter(folder, resume_step)
        self._dataset = dataset
        self._evaluations, self._filters = RationedDrawing(), RationedDrawing()
        self.problem = self._events.problem
        self.flush = self._events.flush
        self.close = self._events.close

    def start(self, step: int, settings: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Describes the run, each time that it is started.

        Args:
            step: steps done.
            settings: all settings by name.
            environment: the content of environment.json.
        """
        defaults = training_defaults()
        rows = [(name, value, defaults[name] if value != defaults[name] else "") for name, value in settings.items()]
        compared = {name: value for name, value in settings.items() if name not in _NOT_COMPARED}
        self._events.add(
            step,
            lambda: [
                text("settings", table(("setting", "value", "default, if other"), rows)),
                text("environment", table(("", "value"), list(_flat(environment)))),
                charts(_CHARTS),
                session_start(compared),
            ],
        )

    def network(self, step: int, model: keras.Model) -> None:
        """Shows the network's layers as a graph."""
        self._events.graph(step, graph(layer_graph(model)))

    def first_images(self, step: int, shown: ShownImages) -> None:
        """Shows the images of the step that follows `step`."""
        captions = [self._caption(shown, place) for place in range(len(shown.labels))]
        self._events.add(step, lambda: [picture("images/first step", *image_grid(shown.pixels, captions))])

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to the curve of each tag, for example `time/input`."""
        self._events.scalars(step, values)

    def metrics(self, part: str, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each metric's curve of a part: train, validation or test."""
        # TensorBoard opens only the first two groups of curves, in the order of their names: accuracy and loss. No
        # other group's name should come before these.
        self.scalars(step, {f"{METRICS[name].label}/{part}": value for name, value in values.items()})

    def training(self, step: int, means: Mapping[str, float], others: Mapping[str, float]) -> None:
        """Adds a point of the training curve.

        Args:
            step: steps done.
            means: its metrics.
            others: the learning rate, for example.
        """
        self.metrics("train", step, means)
        self.scalars(step, {f"training/{name}": value for name, value in others.items()})

    def evaluation(self, part: str, step: int, evaluation: Evaluation) -> None:
        """Adds an evaluation: its metrics, each class's recall, the confusion matrix and the worst answers.

        Pictures may be left out, except those of the run's last evaluation, so that they take little time.
        """
        self.metrics(part, step, evaluation.means)
        if self._dataset is None:
            return
        names, confusion = self._dataset.class_names, evaluation.confusion
        if len(names) <= _MAX_RECALLS:
            recalls = confusion.diagonal() / np.maximum(confusion.sum(1), 1)
            self.scalars(
                step, {f"recall in {part}/{on_one_line(name)}": x for name, x in zip(names, recalls, strict=True)}
            )

        def draw() -> list[Any]:
            matrix = picture(f"confusion/{part}", *confusion_picture(names, confusion))
            return [matrix, *([self._worst(part, evaluation)] if evaluation.worst else [])]

        self._events.add(step, draw if part == "test" else lambda: self._evaluations.draw(step, draw))

    def best(self, step: int, accuracy: float) -> None:
        """Adds the best accuracy on the validation part so far."""
        self.scalars(step, {BEST_ACCURACY: accuracy})

    def weights(self, step: int, weights: Mapping[str, np.ndarray], gradient_norms: Mapping[str, float]) -> None:
        """Adds each layer's norms, and a picture of the first layer's filters.

        Args:
            step: steps done.
            weights: the trainable weights by name.
            gradient_norms: the norms of their gradients in the last step; may be empty.
        """
        with np.errstate(over="ignore"):  # those of a training that diverges may be infinite
            norms = {name: float(np.linalg.norm(values.ravel())) for name, values in weights.items()}
        self.scalars(step, _by_layer("norms of weights", norms) | _by_layer("norms of gradients", gradient_norms))
        kernel = next((values for values in weights.values() if values.ndim == 4), None)
        if kernel is not None and kernel.shape[2] in (1, 3):
            copied = kernel.copy()

            def draw() -> list[Any]:
                return [picture("images/first filters", *filter_grid(copied))]

            self._events.add(step, lambda: self._filters.draw(step, draw))

    def histograms(self, step: int, weights: Mapping[str, np.ndarray]) -> None:
        """Adds a histogram of each of the trainable weights, which are held until it is counted."""
        self._events.add(step, lambda: [histogram(f"weights/{name}", *_counts(x)) for name, x in weights.items()])

    def memory(self, step: int) -> None:
        """Adds the largest memory that this process has used so far, in megabytes."""
        values = {"memory/peak of rank 0 (MB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}
        if tf.config.get_visible_devices("GPU"):
            values["memory/peak of its GPU (MB)"] = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e6
        self.scalars(step, values)

    def limit(self, step: int, cause: str, sentence: str) -> None:
        """Adds a sentence on what limits the speed."""
        self._events.add(step, lambda: [text(f"limits of the speed/{cause}", sentence)])

    def trained(self) -> None:
        """Adds the last pictures, if they were left out; called when no step follows."""
        for rationed in (self._evaluations, self._filters):
            self._events.add_late(rationed.left_out)

    def completed(self, step: int) -> None:
        """Marks the run as completed."""
        self._events.add(step, lambda: [session_end(done=True)])

    def _caption(self, shown: ShownImages, place: int) -> str:
        share = 100 if shown.shares is None else round(100 * float(shown.shares[place]))
        parts = [(share, shown.labels[place])]
        if shown.partners is not None:
            parts.append((100 - share, shown.partners[place]))
        lines = [(percent, self._name(label)) for percent, label in sorted(parts, reverse=True) if percent]
        return "\n".join(name if percent == 100 else f"{percent} % {name}" for percent, name in lines)

    def _worst(self, part: str, evaluation: Evaluation) -> Any:
        assert self._dataset is not None
        pixels = self._dataset.train.images[[answer.sample for answer in evaluation.worst]]
        captions = [f"{self._name(each.label)}\nnot {self._name(each.predicted)}" for each in evaluation.worst]
        return picture(f"images/most wrong in {part}", *image_grid(pixels, captions))

    def _name(self, label: int) -> str:
        return str(label) if self._dataset is None else on_one_line(self._dataset.class_names[label])


def _by_layer(group: str, norms: Mapping[str, float]) -> dict[str, float]:
    """The norms of layers' weights together, by tag, from those of the single weights by path."""
    of_layers: dict[str, float] = {}
    for path, norm in norms.items():
        layer = path.rpartition("/")[0] or path
        of_layers[layer] = math.hypot(of_layers.get(layer, 0.0), norm)
    return {f"{group}/{layer}": norm for layer, norm in of_layers.items()}


def _counts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    finite = values[np.isfinite(values)]
    return np.histogram(finite, _BINS)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values with their paths."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            yield from _flat({f"{name}.{number}": each for number, each in enumerate(value)}, prefix)
        else:
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list) else value
