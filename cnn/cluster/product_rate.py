"""What a rank's device gives."""

import time

import tensorflow as tf


def product_rate(side: int, kind: str = "float32") -> float:
    """Arithmetic operations a second of a product of two square matrices, the best of five."""
    left = tf.ones((side, side), kind)
    multiply = tf.function(lambda: tf.matmul(left, left), autograph=False)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        multiply().numpy()
        times.append(time.perf_counter() - begin)
    return 2 * float(side) ** 3 / min(times)
