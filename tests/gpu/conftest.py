"""Setup of the tests of GPUs."""

import pytest
import tensorflow as tf


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what needs TensorFlow for GPUs where it is not installed."""
    if item.get_closest_marker("gpu_build") and not tf.test.is_built_with_cuda():
        pytest.skip("TensorFlow in .venv has no CUDA: run `bash launch/setup.sh --gpu`")
