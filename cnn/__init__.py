"""Distributed training of the classic convolutional networks."""

import os

__path__ = [os.path.dirname(os.path.realpath(__file__))]  # and not jobs/cnn, a link by which programs find this

from cnn.surroundings import look_around

look_around()

# Read once, when Keras and TensorFlow are first imported.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
