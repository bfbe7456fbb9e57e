"""The moving average of a network's weights, which often generalises better than the weights themselves."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from cnn.optim.regularisation import RegularisationSettings
from cnn.tensor import Tensor


class WeightAverage:
    """The moving average of every variable of a network, moving statistics included.

    Args:
        model: the network.
        decay: maximum factor of the old average; at step t the factor is min(decay, (1 + t) / (10 + t)).
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.variables = {
            f"average/{variable.path}": keras.Variable(variable.numpy(), trainable=False, dtype=variable.dtype)
            for variable in model.variables
        }

    def update(self, steps: Tensor) -> None:
        """Updates the average, inside the compiled step after the weights' update.

        Args:
            steps: integer (): number of steps done, t.
        """
        t = tf.cast(steps, self._model.dtype)
        change = 1 - tf.minimum(tf.constant(self._decay, t.dtype), (1 + t) / (10 + t))
        for average, variable in zip(self.variables.values(), self._model.variables, strict=True):
            average.assign_add(change * (variable.value - average.value))

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Replaces the network's weights by the average while the context is active."""
        weights = [tf.identity(variable.value) for variable in self._model.variables]
        self.keep()
        try:
            yield
        finally:
            for variable, value in zip(self._model.variables, weights, strict=True):
                variable.assign(value)

    def keep(self) -> None:
        """Replaces the network's weights by the average permanently."""
        for average, variable in zip(self.variables.values(), self._model.variables, strict=True):
            variable.assign(average.value)


def make_average(model: keras.Model, settings: RegularisationSettings) -> WeightAverage | None:
    """The average that the settings request; None if they request none."""
    return WeightAverage(model, settings.average_decay) if settings.average_decay else None
