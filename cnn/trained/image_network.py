"""A run's network for image files; its output for an image does not depend on the other images."""

from typing import TYPE_CHECKING

import numpy as np

from cnn.errors import RunError
from cnn.learner.precision import PRECISIONS
from cnn.runs.data_record import RunData
from cnn.runs.saved_run import SavedRun

if TYPE_CHECKING:
    import keras

_MAX_IMAGES = 32
_MAX_PIXELS = 1 << 19


def inference_batch_size(data: RunData) -> int:
    """Returns the batch size. It is fixed by the images' size, as the last bits of results may depend on it.

    A batch has at most half a million pixels, so that memory stays small and a single image fast; but at least two
    images, as a single one is computed by different instructions.
    """
    height, width, _ = data.input_shape
    return max(2, min(_MAX_IMAGES, _MAX_PIXELS // (height * width)))


class ImageNetwork:
    """Computes class probabilities of images.

    Args:
        run: the run, for its data's properties and its precision.
        model: the run's network.
    """

    def __init__(self, run: SavedRun, model: "keras.Model") -> None:
        from cnn.data.feed.feed import Feed  # imports TensorFlow
        from cnn.learner.classifier import Classifier

        self._folder = run.folder
        # The array that the feed uses as its data set is refilled in each call.
        self._images = np.zeros((inference_batch_size(run.data), *run.data.image_shape), np.uint8)
        dataset = run.data.around(self._images)
        feed = Feed(dataset, dataset.test, PRECISIONS[run.settings.step.precision], resident_mb=0)
        self._classifier = Classifier(model, feed, group=len(self._images))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns probabilities, float64 (images, classes).

        Args:
            images: uint8 (images, height, width, channels) of the stored size; at most `inference_batch_size`.

        Raises:
            RunError: the network overflows, so that its output is not finite.
        """
        from cnn.learner.classifier import answered, log_probabilities  # imports TensorFlow

        self._images[: len(images)] = images
        [(logits, _)] = self._classifier([np.arange(len(images))])
        if not answered(logits).all():
            raise RunError(
                f"the network of {self._folder} has outputs that are not finite for some images, which cannot be "
                "classified: choose another --checkpoint, or train with a smaller --learning_rate."
            )
        return np.asarray(np.exp(log_probabilities(logits)))
