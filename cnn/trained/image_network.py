"""A run's network for image files: what it says of one does not depend on the others."""

from typing import TYPE_CHECKING

import numpy as np

from cnn.errors import RunError
from cnn.learner.precision import PRECISIONS
from cnn.runs.data_record import RunData
from cnn.runs.saved_run import SavedRun

if TYPE_CHECKING:
    import keras

_MOST = 32
_PIXELS = 1 << 19


def images_at_once(data: RunData) -> int:
    """Images that are computed together. Fixed by their size, as the last bits may depend on how many these are.

    At most half a million pixels, so that a network takes little memory and a single image little time; but two, as
    one alone is computed by other instructions.
    """
    height, width, _ = data.input_shape
    return max(2, min(_MOST, _PIXELS // (height * width)))


class ImageNetwork:
    """Gives the classes' probabilities of images.

    Args:
        run: tells of the data and the precision.
        model: the run's network.
    """

    def __init__(self, run: SavedRun, model: "keras.Model") -> None:
        from cnn.data.feed import Feed  # TensorFlow
        from cnn.learner.classifier import Classifier

        self._folder = run.folder
        # What the feed takes for a data set is filled with other images for each call.
        self._images = np.zeros((images_at_once(run.data), *run.data.image_shape), np.uint8)
        dataset = run.data.around(self._images)
        feed = Feed(dataset, dataset.test, PRECISIONS[run.settings.step.precision], resident_mb=0)
        self._classifier = Classifier(model, feed, group=len(self._images))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, float64 (images, classes).

        Args:
            images: uint8 (images, height, width, channels) as they are stored; at most `images_at_once`.

        Raises:
            RunError: the network overflows, so that it has no answer.
        """
        from cnn.learner.classifier import answered, log_probabilities  # TensorFlow

        self._images[: len(images)] = images
        [(logits, _)] = self._classifier([np.arange(len(images))])
        if not answered(logits).all():
            raise RunError(
                f"the network of {self._folder} answers some images with infinite numbers or none, so that nothing "
                "can be said of them: choose another --checkpoint, or train with a smaller --learning_rate."
            )
        return np.asarray(np.exp(log_probabilities(logits)))
