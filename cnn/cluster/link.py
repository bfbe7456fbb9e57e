"""What the link between the ranks, and a rank's device, give: measured by the operations that training uses."""

import functools
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from cnn.cluster.collectives import Cluster
from cnn.cluster.exchange_cost import Rates, allreduce_bytes

_NUMBERS = (2**18, 2**22, 2**24)
"""Of a message on a slow link, and on faster ones, where a shorter one says little: between ranks of one host it is
memory that counts, and the processor's cache hides that from less than some 50 MB."""

_FAST = 0.01
"""Seconds of a message, below which a longer one is measured, too."""

_SLOW = 0.1
"""Seconds from which on one measurement says enough."""


def measure_rates(cluster: Cluster) -> Rates:
    """Measures, every rank at the same time; the same on every rank. Takes a second on a link of 100 Mbit/s."""
    others, world_size = cluster.world_size - 1, cluster.world_size
    one, left, right = tf.ones(1), tf.ones((64, 2048)), tf.ones((64, 2048))
    latency = _seconds(cluster, lambda: cluster.sum_in_graph(one, "rates.latency"), 9)
    product = _seconds(cluster, lambda: tf.matmul(left, right, transpose_a=True), 5)
    summed = _numbers_per_second(cluster, "sum", cluster.sum_in_graph, latency, 1)
    gathered = _numbers_per_second(cluster, "gather", cluster.gather_in_graph, latency, world_size)
    return Rates(
        latency=latency,
        sent_per_second=allreduce_bytes(1_000_000, world_size, 4) / 1e6 * summed,
        gathered_per_second=4 * others * gathered,
        multiply_adds_per_second=left.shape[0] * left.shape[1] * right.shape[1] / product,
    )


def _numbers_per_second(
    cluster: Cluster, name: str, collective: Callable[[Any, str], Any], latency: float, parts: int
) -> float:
    """Numbers that each rank brings, in a second; the result is `parts` times as large."""
    seconds, numbers = 0.0, 0
    for result in _NUMBERS:
        numbers = max(1, result // parts)
        message, label = tf.ones(numbers), f"rates.{name}.{numbers}"
        seconds = _seconds(cluster, functools.partial(collective, message, label), 5)
        if seconds > _FAST:
            break
    return numbers / max(seconds - latency, seconds / 2)


def _seconds(cluster: Cluster, operation: Callable[[], Any], times: int) -> float:
    """The shortest time of an operation on the slowest rank; its first call, which also sets things up, is left out."""
    compiled = tf.function(operation, autograph=False)
    compiled()
    measured: list[float] = []
    for _ in range(times):
        cluster.gather(None)  # so that all begin together
        begin = time.perf_counter()
        compiled().numpy()
        measured.append(max(cluster.gather(time.perf_counter() - begin)))
        if measured[-1] > _SLOW:
            break
    return min(measured)
