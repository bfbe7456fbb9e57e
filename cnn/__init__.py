"""Distributed training of the classic convolutional networks."""

import os

from cnn.interruption import guard_start

guard_start()

# Read once, when Keras and TensorFlow are first imported.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
