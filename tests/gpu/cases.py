"""A training step to measure, as words: MODEL:PRECISION:BATCH[:xla][:variable][:streamed][:images=N][:side=N]."""

import contextlib
import dataclasses
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from cnn.cluster.collectives import Cluster
from cnn.data import feed
from cnn.data.pixels import ResidentPixels
from cnn.learner.learner import Learner

from ..noise import noise_learner

CLASSES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A network and how its step is computed."""

    words: str
    model: str
    precision: str
    batch: int
    xla: bool = False

    variable: bool = False
    """Hold the images in a variable instead of a constant: TensorFlow gathers from the former on the GPU."""

    streamed: bool = False
    """Read the images as they are needed, instead of holding them on the device."""

    images: int | None = None
    """How many there are to choose from; two batches when None."""

    side: int = 224
    """Pixels of a side of the images."""

    def build(self, cluster: Cluster) -> Learner:
        """Assembles what learns, from noise."""
        settings = ["--model", self.model, "--precision", self.precision, "--optimizer", "momentum"]
        settings += ["--xla"] if self.xla else []
        held = mock.patch.object(feed, "ResidentPixels", _VariablePixels) if self.variable else contextlib.nullcontext()
        with held:
            return noise_learner(
                cluster,
                *settings,
                *("--resident_mb", 0 if self.streamed else 2048),
                side=self.side,
                batch=self.batch,
                images=self.images,
                classes=CLASSES,
            )


class _VariablePixels(ResidentPixels):
    def __init__(self, images: np.ndarray) -> None:
        self._images = tf.Variable(images, trainable=False)


def parse_case(words: str) -> Case:
    """Reads a case; ValueError for a word that is not one."""
    model, precision, batch, *more = words.split(":")
    options: dict[str, Any] = {}
    for word in more:
        name, _, value = word.partition("=")
        if word not in ("xla", "variable", "streamed") and name not in ("images", "side"):
            raise ValueError(f"{word} in {words} is not xla, variable, streamed, images=N or side=N")
        options[name] = int(value) if value else True
    return Case(words=words, model=model, precision=precision, batch=int(batch), **options)
