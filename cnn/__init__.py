"""Distributed training of the classic convolutional networks."""

import os

from cnn.library_settings import use_own_settings

use_own_settings(os.environ)  # read once, when Keras and TensorFlow are first imported
