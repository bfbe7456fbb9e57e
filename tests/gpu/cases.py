"""A training step to measure, as words: MODEL:PRECISION:BATCH[:xla][:streamed][:images=N][:side=N]."""

import dataclasses
from typing import Any

from cnn.cluster.ranks.collectives import Cluster
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
        return noise_learner(
            cluster,
            *settings,
            *("--resident_mb", 0 if self.streamed else 2048),
            side=self.side,
            batch=self.batch,
            images=self.images,
            classes=CLASSES,
        )


def parse_case(words: str) -> Case:
    """Reads a case; ValueError for a word that is not one."""
    model, precision, batch, *more = words.split(":")
    options: dict[str, Any] = {}
    for word in more:
        name, _, value = word.partition("=")
        if word not in ("xla", "streamed") and name not in ("images", "side"):
            raise ValueError(f"{word} in {words} is not xla, streamed, images=N or side=N")
        options[name] = int(value) if value else True
    return Case(words=words, model=model, precision=precision, batch=int(batch), **options)
