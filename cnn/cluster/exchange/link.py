"""Measures the link between the ranks, and a rank's device, with the operations that training uses."""

import functools
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from cnn.cluster.exchange.exchange_cost import Rates, allreduce_bytes
from cnn.cluster.ranks.collectives import Cluster

_ELEMENTS = (2**18, 2**22, 2**24)
"""Sizes of the messages: the smallest for slow links, larger ones for faster links, where short messages say little:
between ranks of one host, memory limits the rate, which the processor's cache hides below about 50 MB."""

_FAST_SECONDS = 0.01
"""A message that takes less is followed by a larger one."""

_SIDES = (2**11, 2**13)
"""Sizes of the products: the larger one for GPUs, which take longer to start the smaller one than to compute it."""

_SHORT_SECONDS = 0.001
"""A product that takes less is followed by a larger one."""

_SLOW_SECONDS = 0.1
"""A message that takes longer is not repeated."""


def measure_rates(cluster: Cluster) -> Rates:
    """Measures the rates; collective, with the same result on every rank. Takes a second on a link of 100 Mbit/s."""
    world_size = cluster.world_size
    one = tf.ones(1)
    latency = _seconds(cluster, lambda: cluster.sum_in_graph(one, "rates.latency"), 9)
    summed = _elements_per_second(cluster, "sum", cluster.sum_in_graph, latency, 1)
    gathered = _elements_per_second(cluster, "gather", cluster.gather_in_graph, latency, world_size)
    return Rates(
        latency=latency,
        sent_per_second=allreduce_bytes(1_000_000, world_size, 4) / 1e6 * summed,
        gathered_per_second=4 * (world_size - 1) * gathered,
        multiply_adds_per_second=_multiply_adds_per_second(cluster),
    )


def _multiply_adds_per_second(cluster: Cluster) -> float:
    """The rate of a product like those of factors, of 64 samples."""
    rate = 0.0
    for side in _SIDES:
        factor = tf.ones((64, side))
        seconds = _seconds(cluster, functools.partial(tf.matmul, factor, factor, transpose_a=True), 5)
        rate = 64 * side**2 / seconds
        if seconds > _SHORT_SECONDS:
            break
    return rate


def _elements_per_second(
    cluster: Cluster, name: str, collective: Callable[[Any, str], Any], latency: float, parts: int
) -> float:
    """Elements that each rank contributes per second to a collective whose result has `parts` times as many."""
    seconds, elements = 0.0, 0
    for result in _ELEMENTS:
        elements = max(1, result // parts)
        message, label = tf.ones(elements), f"rates.{name}.{elements}"
        seconds = _seconds(cluster, functools.partial(collective, message, label), 5)
        if seconds > _FAST_SECONDS:
            break
    return elements / max(seconds - latency, seconds / 2)


def _seconds(cluster: Cluster, operation: Callable[[], Any], times: int) -> float:
    """The shortest time of an operation on the slowest rank, not counting the first call, which traces it."""
    # One number of the result, because the time to copy the whole from a GPU does not count.
    compiled = tf.function(lambda: tf.reshape(operation(), [-1])[0], autograph=False)
    compiled()
    measured: list[float] = []
    for _ in range(times):
        cluster.gather(None)  # a barrier, so that all ranks start together
        begin = time.perf_counter()
        compiled().numpy()
        measured.append(max(cluster.gather(time.perf_counter() - begin)))
        if measured[-1] > _SLOW_SECONDS:
            break
    return min(measured)
