"""Distributed training of the classic convolutional networks."""

import os

__path__ = [os.path.dirname(os.path.realpath(__file__))]  # and not jobs/cnn, a link by which programs find this

from cnn.surroundings import look_around

look_around()

# Only now, as an older Python may not be able to read them.
from cnn.interruption import guard_start  # noqa: E402
from cnn.library_settings import use_own_settings  # noqa: E402

guard_start()
use_own_settings(os.environ)  # read once, when Keras and TensorFlow are first imported
