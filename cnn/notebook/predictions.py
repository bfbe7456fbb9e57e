"""The classes that a trained network finds in images."""

import dataclasses

import numpy as np

from cnn.monitoring.records.predictions import Prediction, PredictionTable

_SHOWN = 20
_SHOWN_CLASSES = 3


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Predictions:
    """The probabilities of each class for some images; shown as a table of the first of them."""

    probabilities: np.ndarray
    """float64 (images, classes)."""

    class_names: tuple[str, ...]

    files: tuple[str, ...] | None
    """The names of the images' files, in the order of the probabilities; None if the images are arrays."""

    left_out: dict[str, str]
    """The names of files that cannot be read, with the reasons."""

    @property
    def names(self) -> list[str]:
        """The likeliest class of each image."""
        return [self.class_names[label] for label in self.probabilities.argmax(1)]

    def __len__(self) -> int:
        return len(self.probabilities)

    def __repr__(self) -> str:
        names = self.files or [str(number) for number in range(len(self))]
        rows = zip(names[:_SHOWN], self.probabilities[:_SHOWN], strict=True)
        lines = [PredictionTable(0).lines([self._prediction(*each) for each in rows])]
        if len(self) > _SHOWN:
            lines.append(f"... {len(self):,} images")
        if self.left_out:
            lines.append(f"left out: {len(self.left_out):,} files that cannot be read (see left_out)")
        return "\n".join(lines)

    def _prediction(self, image: str, row: np.ndarray) -> Prediction:
        order = np.argsort(-row, kind="stable")[:_SHOWN_CLASSES]
        return Prediction(image, [(self.class_names[label], float(row[label])) for label in order])
