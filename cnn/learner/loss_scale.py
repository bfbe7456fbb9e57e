"""Loss scaling, without which most gradients of float16 networks would underflow."""

import keras
import tensorflow as tf

from cnn.tensor import Tensor

_FIRST_SCALE = 2.0**15
_PATIENCE = 1000
"""Successive steps with finite gradients after which the scale is doubled."""


class LossScale:
    """A factor of the loss, halved when gradients overflow (the step is then skipped), and doubled now and then.

    Micikevicius et al., "Mixed precision training", 2017, section 3.2.
    """

    def __init__(self) -> None:
        self._scale = keras.Variable(_FIRST_SCALE, trainable=False, dtype="float32", name="scale")
        self._good = keras.Variable(0, trainable=False, dtype="int32", name="good_steps")

    @property
    def variables(self) -> dict[str, Tensor]:
        """The state by name."""
        return {"loss_scale/scale": self._scale, "loss_scale/good_steps": self._good}

    @property
    def value(self) -> Tensor:
        """The factor, a float32 tensor."""
        return self._scale.value

    def update(self, finite: Tensor) -> None:
        """Updates the scale inside the compiled step, by whether all its gradients were finite, bool ()."""
        # TensorFlow adds and compares int32 in the host's memory on a GPU, too. Choosing on the device would take more
        # copies, one after the other.
        with tf.device("CPU:0"):
            good = tf.where(finite, self._good.value + 1, 0)
            grows = good == _PATIENCE
            factor = tf.where(finite, tf.where(grows, 2.0, 1.0), 0.5)
            counted = tf.where(grows, 0, good)
        self._scale.assign(self._scale.value * factor)
        self._good.assign(counted)


def make_loss_scale(precision: str) -> LossScale | None:
    """The loss scale that a precision needs, if any."""
    return LossScale() if precision == "mixed_float16" else None
