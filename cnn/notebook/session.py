"""The Python session that uses this package, whose global settings and random numbers belong to its user."""

import contextlib
import os
import random
from collections.abc import Iterator

import numpy as np

from cnn.quiet_import import without_noise


@contextlib.contextmanager
def unchanged_session() -> Iterator[None]:
    """Restores Keras's default types and the random numbers of Python and NumPy, which building a network sets."""
    # Without it, TensorFlow would take all of a GPU's memory, and leave none to `cnn.train`.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with without_noise():  # not as programs import it: there an interrupt would end the process
        import keras

    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
        random.setstate(python_state)
        np.random.set_state(numpy_state)
