"""Loss scaling, without which most gradients of float16 networks would be too small for their type."""

import keras
import tensorflow as tf

from cnn.tensor import Tensor

_FIRST_SCALE = 2.0**15
_PATIENCE = 1000
"""Good steps after which twice the scale is tried."""


class LossScale:
    """The factor of the loss: halved where gradients overflow, whose step is then left out, and doubled now and then.

    Micikevicius et al., "Mixed precision training", 2017, section 3.2.
    """

    def __init__(self) -> None:
        self._scale = keras.Variable(_FIRST_SCALE, trainable=False, dtype="float32", name="scale")
        self._good = keras.Variable(0, trainable=False, dtype="int32", name="good_steps")

    @property
    def variables(self) -> dict[str, Tensor]:
        """Its state by name."""
        return {"loss_scale/scale": self._scale, "loss_scale/good_steps": self._good}

    @property
    def value(self) -> Tensor:
        """The factor, a float32 tensor."""
        return self._scale.value

    def update(self, finite: Tensor) -> None:
        """Inside the compiled step: takes whether all its gradients were finite."""
        good = tf.where(finite, self._good.value + 1, 0)
        grows = good == _PATIENCE
        factor = tf.where(finite, tf.where(grows, 2.0, 1.0), 0.5)
        self._scale.assign(self._scale.value * factor)
        self._good.assign(tf.where(grows, 0, good))


def make_loss_scale(precision: str) -> LossScale | None:
    """What a precision needs."""
    return LossScale() if precision == "mixed_float16" else None
