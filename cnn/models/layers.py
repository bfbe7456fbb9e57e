"""Layers that Keras has in another form."""

import math
import zlib
from typing import Any

import keras
import tensorflow as tf

from cnn.keyed_random import hash_tensor
from cnn.models.batch import current_batch


class Dropout(keras.layers.Layer):
    """Inverted dropout (Srivastava et al., JMLR 2014) whose mask does not depend on the number of workers.

    A unit is dropped according to a hash of (the sample's key, this layer's name, the unit's index). Keras's own layer
    draws from a generator's state, so that two workers would draw other masks than one.

    Args:
        rate: share of units set to zero, in [0, 1). The others are scaled by 1 / (1 - rate).
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate {rate} is not in [0, 1)")
        self.rate = rate

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Tensor (samples, ...) in, the same shape out."""
        if not training or self.rate == 0:
            return inputs
        units = math.prod(inputs.shape[1:])
        bits = hash_tensor(current_batch().keys, units, salt=zlib.crc32(self.name.encode()))
        kept = bits >= tf.constant(round(self.rate * 2**32), tf.uint32)
        scale = tf.cast(kept, inputs.dtype) * tf.constant(1 / (1 - self.rate), inputs.dtype)
        return inputs * tf.reshape(scale, tf.shape(inputs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}
