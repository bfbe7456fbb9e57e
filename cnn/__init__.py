"""Distributed training of the classic convolutional networks."""

import os

__path__ = [os.path.dirname(os.path.realpath(__file__))]  # not jobs/cnn, a link through which the programs find cnn

from cnn.surroundings import check_surroundings

check_surroundings()

# Imported after the check, as an older Python may not be able to parse them.
from cnn.interruption import install_exit_on_interrupt  # noqa: E402
from cnn.library_settings import override_library_settings  # noqa: E402

install_exit_on_interrupt()
override_library_settings(os.environ)  # read once, when Keras and TensorFlow are first imported
