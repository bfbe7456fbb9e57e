"""The moving average of a network's weights, which often generalises better than the weights themselves."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from cnn.cluster.exchange.row_slice import RowSlice
from cnn.cluster.exchange.sharded_kernels import NOT_SHARDED, ShardedKernels
from cnn.optim.regularisation import RegularisationSettings
from cnn.tensor import Tensor


class WeightAverage:
    """The moving average of every variable of a network, moving statistics included.

    Args:
        model: the network.
        decay: maximum factor of the old average; at step t the factor is min(decay, (1 + t) / (10 + t)).
        sharded: the kernels that are divided among the ranks; each rank averages its rows.
    """

    def __init__(self, model: keras.Model, decay: float, sharded: ShardedKernels = NOT_SHARDED) -> None:
        self._model = model
        self._decay = decay
        self._sharded = sharded
        self._trained = sharded.trained(model.variables)
        self._averages = [
            keras.Variable(variable.numpy(), trainable=False, dtype=variable.dtype) for variable in self._trained
        ]
        named = zip((variable.path for variable in self._trained), self._averages, strict=True)
        self.variables: dict[str, keras.Variable | RowSlice] = {
            f"average/{path}": sharded[path].slice_of(average) if path in sharded else average
            for path, average in named
        }

    def update(self, steps: Tensor) -> None:
        """Updates the average, inside the compiled step after the weights' update.

        Args:
            steps: integer (): number of steps done, t.
        """
        t = tf.cast(steps, self._model.dtype)
        change = 1 - tf.minimum(tf.constant(self._decay, t.dtype), (1 + t) / (10 + t))
        for average, variable in zip(self._averages, self._trained, strict=True):
            # TensorFlow's variables: Keras's `assign_add` would make twice as many operations.
            average.value.assign_add(change * (variable.value - average.value), read_value=False)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Replaces the network's weights by the average while the context is active; see `keep`."""
        weights = [tf.identity(variable.value) for variable in self._model.variables]
        self.keep()
        try:
            yield
        finally:
            for variable, value in zip(self._model.variables, weights, strict=True):
                variable.assign(value)

    def keep(self) -> None:
        """Replaces the network's weights by the average permanently; every rank calls it if a kernel is divided."""
        for average, variable in zip(self._averages, self._model.variables, strict=True):
            variable.assign(self._sharded.whole(variable.path, average.value))


def make_average(
    model: keras.Model, settings: RegularisationSettings, sharded: ShardedKernels = NOT_SHARDED
) -> WeightAverage | None:
    """The average that the settings request; None if they request none. The arguments are those of the class."""
    return WeightAverage(model, settings.average_decay, sharded) if settings.average_decay else None
