"""Measures the speed of a rank's device."""

import time

import tensorflow as tf


def product_rate(side: int, dtype: str = "float32") -> float:
    """Floating-point operations per second of a product of two `side` x `side` matrices, the best of five."""
    left = tf.ones((side, side), dtype)
    # One number of the product, because copying the whole from a GPU would take longer than computing it.
    multiply = tf.function(lambda: tf.matmul(left, left)[0, 0], autograph=False)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        multiply().numpy()
        times.append(time.perf_counter() - begin)
    return 2 * float(side) ** 3 / min(times)
