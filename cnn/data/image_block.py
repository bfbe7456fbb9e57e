"""Memory for the images of a batch that NumPy and TensorFlow share, so that batches are not copied between them."""

import math

import numpy as np

from cnn.tensor import Tensor

_ALIGNMENT = 64
"""Bytes: TensorFlow uses memory of others only if its address is a multiple of this, and aborts the process if not."""


def new_block(shape: tuple[int, ...]) -> np.ndarray:
    """An uninitialised uint8 array that TensorFlow can use."""
    size = math.prod(shape)
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    return memory[first : first + size].reshape(shape)


def as_tensor(block: np.ndarray) -> Tensor:
    """A tensor of a complete array from `new_block`, which must not be written to any more.

    On a processor the tensor is in the array's memory; to a GPU it is copied.
    """
    import tensorflow as tf

    if tf.config.get_visible_devices("GPU") or block.ctypes.data % _ALIGNMENT:
        return tf.constant(block)
    return tf.experimental.dlpack.from_dlpack(block.__dlpack__())
