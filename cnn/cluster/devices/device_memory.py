"""The memory that TensorFlow uses on this process's device, by the count of its allocator."""

import tensorflow as tf


def peak_bytes() -> int | None:
    """The most bytes in use since `reset_peak`; None where TensorFlow does not count them (a CPU without oneDNN)."""
    try:
        return int(tf.config.experimental.get_memory_info(_device())["peak"])
    except ValueError:
        return None


def reset_peak() -> None:
    """Makes `peak_bytes` forget what was in use earlier."""
    try:
        tf.config.experimental.reset_memory_stats(_device())
    except ValueError:
        return


def _device() -> str:
    return "GPU:0" if tf.config.get_visible_devices("GPU") else "CPU:0"
