"""Checks whether the ranks of a job can work together, and which host or link slows the others down."""

import dataclasses
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cnn.cluster.collectives import Cluster
from cnn.cluster.installation import differences, installation
from cnn.cluster.product_rate import product_rate

_LATENCY_BYTES, _BANDWIDTH_BYTES = 1, 2**20
"""Sizes of the messages that measure latency and bandwidth."""

_SECONDS = 0.5
"""Duration of a bandwidth measurement, within 2 to 100 messages."""

_SLOW = 2.0
"""A host this many times slower than the median, or a link this many times slower than the best, gets a warning."""

_TOLERATED_LATENCY = 1e-3
"""Seconds; a latency up to this never gets a warning."""

_MIN_FREE_BYTES = {"free_disk": 10**9, "free_shared_memory": 64 * 2**20}
_MAX_CLOCK_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """The link between two ranks; they are on different hosts if the job has several."""

    ranks: tuple[int, int]
    latency: float
    """Seconds one way."""

    bytes_per_second: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkup:
    """The findings; the same on every rank."""

    machines: list[dict[str, Any]]
    """The measurements of `_machine`, by rank."""

    pairs: list[Pair]
    faults: list[str]
    """Reasons why the job would fail or compute wrong results."""

    warnings: list[str]


def check_up(cluster: Cluster, facts: dict[str, str]) -> Checkup:
    """Checks every rank and the links between them; collective: every rank calls it.

    Args:
        cluster: the workers.
        facts: what must be equal on all ranks besides the installation, for example a checksum of the data.
    """
    faults = differences(cluster, {**installation(), **facts})
    faults += _wrong_sums(cluster)
    machines = cluster.gather(_machine(cluster))
    pairs = _measure_pairs(cluster)
    names = [f"rank {rank} on {cluster.peers[rank][0]}" for rank in range(cluster.world_size)]
    warnings = _slow_ranks(machines, names) + slow_links(pairs, [str(peer[0]) for peer in cluster.peers])
    for machine, name in zip(machines, names, strict=True):
        for resource, min_bytes in _MIN_FREE_BYTES.items():
            if machine[resource] < min_bytes:
                warnings.append(f"{name} has only {machine[resource] / 1e6:,.0f} MB of {resource.replace('_', ' ')}")
        if abs(machine["clock"] - machines[0]["clock"]) > _MAX_CLOCK_SECONDS:
            offset = machine["clock"] - machines[0]["clock"]
            warnings.append(f"the clock of {name} differs from that of rank 0 by {offset:+.0f} s")
    return Checkup(machines=machines, pairs=pairs, faults=faults, warnings=warnings)


def _wrong_sums(cluster: Cluster) -> list[str]:
    """Adds up known numbers over all ranks, and reports each rank whose sum is wrong."""
    numbers = np.arange(1000.0) * (cluster.rank + 1)
    expected = np.arange(1000.0) * sum(range(1, cluster.world_size + 1))
    wrong = cluster.gather(not np.array_equal(cluster.sum(numbers), expected))
    return [f"rank {rank} (on {cluster.peers[rank][0]}) got a wrong sum" for rank, bad in enumerate(wrong) if bad]


def _machine(cluster: Cluster) -> dict[str, Any]:
    cluster.gather(None)  # a barrier, so that all ranks read their clocks at the same time
    clock = time.time()
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else 0
    return {
        "clock": clock,
        "threads": cluster.cores.threads,
        "gpus": [device.name for device in tf.config.get_visible_devices("GPU")],
        "gigaflops": product_rate(512) / 1e9,
        "load": os.getloadavg()[0],
        "free_disk": shutil.disk_usage(".").free,
        "free_shared_memory": shared,
    }


def _measure_pairs(cluster: Cluster) -> list[Pair]:
    """Measures, one pair at a time, the first ranks of each two hosts; on a single host, its first two ranks."""
    if cluster.controller != "mpi" or cluster.world_size == 1:
        return []  # Horovod over Gloo offers no point-to-point messages
    from mpi4py import MPI  # here, as importing it initialises MPI, which must not happen under Gloo

    hosts = [peer[0] for peer in cluster.peers]
    firsts = sorted({hosts.index(host) for host in hosts})
    if len(firsts) == 1:
        firsts = list(range(min(2, cluster.world_size)))
    pairs = []
    for position, first in enumerate(firsts):
        for second in firsts[position + 1 :]:
            measured = None
            if cluster.rank in (first, second):
                partner = second if cluster.rank == first else first
                measured = _ping_pong(MPI.COMM_WORLD, partner, first=cluster.rank == first)
            latency, rate = cluster.gather(measured)[first]
            pairs.append(Pair(ranks=(first, second), latency=latency, bytes_per_second=rate))
    return pairs


def _ping_pong(world: Any, partner: int, *, first: bool) -> tuple[float, float]:
    """Measures the one-way latency in seconds, and the bytes per second, between this rank and its partner."""

    def one_way(size: int, times: int) -> float:
        message = np.zeros(size, np.uint8)
        measured = []
        for _ in range(times):
            begin = time.perf_counter()
            if first:
                world.Send(message, dest=partner)
                world.Recv(message, source=partner)
            else:
                world.Recv(message, source=partner)
                world.Send(message, dest=partner)
            measured.append((time.perf_counter() - begin) / 2)
        return min(measured[1:])

    latency = one_way(_LATENCY_BYTES, 20)
    estimate = one_way(_BANDWIDTH_BYTES, 3)
    # On a fast link a single message says little: other work on the host can take as long.
    local_times = int(np.clip(_SECONDS / estimate, 2, 100))
    times = min(local_times, world.sendrecv(local_times, dest=partner, source=partner))
    return latency, _BANDWIDTH_BYTES / max(min(estimate, one_way(_BANDWIDTH_BYTES, times)) - latency, 1e-9)


def _slow_ranks(machines: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    rates = [machine["gigaflops"] for machine in machines]
    median = statistics.median(rates)
    return [
        f"{name} computes {rate:,.0f} GFLOP/s, the median is {median:,.0f}"
        for name, rate in zip(names, rates, strict=True)
        if rate * _SLOW < median
    ]


def slow_links(pairs: Sequence[Pair], hosts: Sequence[str]) -> list[str]:
    """Warns of hosts all of whose links are slow compared with the best link, and of other single slow links.

    Args:
        pairs: the measured links.
        hosts: each rank's host name.
    """
    if len(pairs) < 2:
        return []
    latency = min(pair.latency for pair in pairs)
    rate = max(pair.bytes_per_second for pair in pairs)

    def fault(pair: Pair) -> str:
        if pair.latency > max(_SLOW * latency, _TOLERATED_LATENCY):
            return f"{1e3 * pair.latency:,.1f} ms, the best link has {1e3 * latency:,.1f}"
        if pair.bytes_per_second * _SLOW < rate:
            return f"{pair.bytes_per_second / 1e6:,.0f} MB/s, the best link has {rate / 1e6:,.0f}"
        return ""

    slow, warnings = {pair.ranks for pair in pairs if fault(pair)}, []
    ranks = sorted({rank for pair in pairs for rank in pair.ranks})
    culprits = {rank for rank in ranks if all(pair.ranks in slow for pair in pairs if rank in pair.ranks)}
    if len(culprits) == len(ranks):
        culprits = set()
    for rank in sorted(culprits):
        worst = max((pair for pair in pairs if rank in pair.ranks), key=lambda pair: pair.latency)
        warnings.append(f"the link of {hosts[rank]} is slow: {fault(worst)}")
    for pair in pairs:
        if pair.ranks in slow and not culprits & set(pair.ranks):
            first, second = (hosts[rank] for rank in pair.ranks)
            warnings.append(f"the link between {first} and {second} is slow: {fault(pair)}")
    return warnings
