"""Checks whether the ranks of a job can work together, and finds the host or link that slows the others down."""

import dataclasses
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from cnn.cluster.devices.product_rate import product_rate
from cnn.cluster.ranks.collectives import Cluster
from cnn.cluster.ranks.installation import differences, installation

_LATENCY_BYTES, _BANDWIDTH_BYTES = 1, 2**20
"""Sizes of the messages that measure latency and bandwidth."""

_BANDWIDTH_SECONDS = 0.5
"""Target duration of a bandwidth measurement, limited to 2-100 messages."""

_SLOW = 2.0
"""A host this many times slower than the median, or a link this many times slower than the best, gets a warning."""

_TOLERATED_LATENCY = 1e-3
"""Seconds; a latency up to this never gets a warning."""

_SHARED_MEMORY = "/dev/shm"
_MIN_FREE_BYTES = {"free_disk": 10**9, "free_shared_memory": 64 * 2**20}
_MAX_CLOCK_OFFSET_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankMeasurements:
    """The measurements of one rank."""

    clock: float
    """Unix time, read by all ranks at the same moment."""

    threads: int
    gpus: list[str]
    unused_gpu: str
    """Why the rank uses no GPU although its host has one; empty otherwise."""

    gigaflops: float
    load: float
    """The host's load average over the last minute."""

    free_disk: int
    """Bytes on the disk of the current folder."""

    free_shared_memory: int | None
    """Bytes in /dev/shm; None if the host has no such folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Link:
    """The link between two ranks; they are on different hosts if the job has several."""

    ranks: tuple[int, int]
    latency: float
    """Seconds one way."""

    bytes_per_second: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkup:
    """The findings; the same on every rank."""

    measurements: list[RankMeasurements]
    """By rank."""

    links: list[Link]
    faults: list[str]
    """Reasons why the job would fail or compute wrong results."""

    warnings: list[str]


def check_up(cluster: Cluster, facts: dict[str, str]) -> Checkup:
    """Checks every rank and the links between them; collective: every rank calls it.

    Args:
        cluster: the workers.
        facts: values that must be equal on all ranks, besides the installation; for example a checksum of the data.
    """
    faults = differences(cluster, {**installation(), **facts})
    faults += _wrong_sums(cluster)
    gathered = cluster.gather(dataclasses.asdict(_measure_rank(cluster)))
    measurements = [RankMeasurements(**each) for each in gathered]
    links = _measure_links(cluster)
    names = [f"rank {rank} on {cluster.peers[rank][0]}" for rank in range(cluster.world_size)]
    warnings = slow_ranks(measurements, names) + slow_links(links, [str(peer[0]) for peer in cluster.peers])
    warnings += scarce_resources(measurements, names)
    for measured, name in zip(measurements, names, strict=True):
        if measured.unused_gpu:
            warnings.append(f"{name} uses no GPU: {measured.unused_gpu}")
        offset = measured.clock - measurements[0].clock
        if abs(offset) > _MAX_CLOCK_OFFSET_SECONDS:
            warnings.append(f"the clock of {name} differs from that of rank 0 by {offset:+.0f} s")
    return Checkup(measurements=measurements, links=links, faults=faults, warnings=warnings)


def _wrong_sums(cluster: Cluster) -> list[str]:
    """Adds up known numbers over all ranks, and reports each rank whose sum is wrong."""
    numbers = np.arange(1000.0) * (cluster.rank + 1)
    expected = np.arange(1000.0) * sum(range(1, cluster.world_size + 1))
    is_wrong = cluster.gather(not np.array_equal(cluster.sum(numbers), expected))
    return [
        f"rank {rank} (on {cluster.peers[rank][0]}) got a wrong sum" for rank, wrong in enumerate(is_wrong) if wrong
    ]


def _measure_rank(cluster: Cluster) -> RankMeasurements:
    cluster.gather(None)  # a barrier, so that all ranks read their clocks at the same time
    return RankMeasurements(
        clock=time.time(),
        threads=cluster.cores.threads,
        gpus=[device.name for device in tf.config.get_visible_devices("GPU")],
        unused_gpu=cluster.devices.unused_gpu,
        gigaflops=product_rate(512) / 1e9,
        load=os.getloadavg()[0],
        free_disk=shutil.disk_usage(".").free,
        free_shared_memory=shutil.disk_usage(_SHARED_MEMORY).free if os.path.isdir(_SHARED_MEMORY) else None,
    )


def _measure_links(cluster: Cluster) -> list[Link]:
    """Measures, one after the other, the links of the first ranks of every pair of hosts.

    On a single host it measures the link of the first two ranks.
    """
    if cluster.controller != "mpi" or cluster.world_size == 1:
        return []  # Horovod over Gloo offers no point-to-point messages
    from mpi4py import MPI  # here, as importing it initialises MPI, which must not happen under Gloo

    hosts = [peer[0] for peer in cluster.peers]
    firsts = sorted({hosts.index(host) for host in hosts})
    if len(firsts) == 1:
        firsts = list(range(min(2, cluster.world_size)))
    links = []
    for position, first in enumerate(firsts):
        for second in firsts[position + 1 :]:
            measured = None
            if cluster.rank in (first, second):
                partner = second if cluster.rank == first else first
                measured = _ping_pong(MPI.COMM_WORLD, partner, first=cluster.rank == first)
            latency, rate = cluster.gather(measured)[first]
            links.append(Link(ranks=(first, second), latency=latency, bytes_per_second=rate))
    return links


def _ping_pong(world: Any, partner: int, *, first: bool) -> tuple[float, float]:
    """Measures the one-way latency in seconds, and the bytes per second, between this rank and its partner."""

    def one_way(size: int, times: int) -> float:
        """The fastest of `times` round trips, halved; the first is a warm-up."""
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
    seconds_per_mebibyte = one_way(_BANDWIDTH_BYTES, 3)
    # On a fast link one message is so short that other work distorts its time.
    local_times = int(np.clip(_BANDWIDTH_SECONDS / seconds_per_mebibyte, 2, 100))
    times = min(local_times, world.sendrecv(local_times, dest=partner, source=partner))
    seconds_per_mebibyte = min(seconds_per_mebibyte, one_way(_BANDWIDTH_BYTES, times))
    return latency, _BANDWIDTH_BYTES / max(seconds_per_mebibyte - latency, 1e-9)


def slow_ranks(measurements: Sequence[RankMeasurements], names: Sequence[str]) -> list[str]:
    """Warns of ranks whose processors compute slowly compared with the median."""
    rates = [measured.gigaflops for measured in measurements]
    median = statistics.median(rates)
    return [
        f"{name} computes only {rate:,.0f} GFLOP/s (median {median:,.0f})"
        for name, rate in zip(names, rates, strict=True)
        if rate * _SLOW < median
    ]


def scarce_resources(measurements: Sequence[RankMeasurements], names: Sequence[str]) -> list[str]:
    """Warns of ranks with little free space on the disk or in the shared memory, if the host has one."""
    return [
        f"{name} has only {free_bytes / 1e6:,.0f} MB of {resource.replace('_', ' ')}"
        for measured, name in zip(measurements, names, strict=True)
        for resource, min_bytes in _MIN_FREE_BYTES.items()
        if (free_bytes := getattr(measured, resource)) is not None and free_bytes < min_bytes
    ]


def slow_links(links: Sequence[Link], hosts: Sequence[str]) -> list[str]:
    """Warns of hosts all of whose links are slow compared with the best link, and of other single slow links.

    Args:
        links: the measured links.
        hosts: each rank's host name.
    """
    if len(links) < 2:
        return []
    best_latency = min(link.latency for link in links)
    best_rate = max(link.bytes_per_second for link in links)

    def has_slow_latency(link: Link) -> bool:
        return link.latency > max(_SLOW * best_latency, _TOLERATED_LATENCY)

    def fault(link: Link) -> str:
        if has_slow_latency(link):
            return f"{1e3 * link.latency:,.1f} ms, whereas the best link has {1e3 * best_latency:,.1f} ms"
        if link.bytes_per_second * _SLOW < best_rate:
            return f"{link.bytes_per_second / 1e6:,.0f} MB/s, whereas the best link has {best_rate / 1e6:,.0f} MB/s"
        return ""

    def severity(link: Link) -> tuple[float, float]:
        """Ranks slow links as `fault` describes them: by latency where it is slow, otherwise by bandwidth."""
        return link.latency if has_slow_latency(link) else 0.0, -link.bytes_per_second

    slow, warnings = {link.ranks for link in links if fault(link)}, []
    ranks = sorted({rank for link in links for rank in link.ranks})
    slow_ends = {rank for rank in ranks if all(link.ranks in slow for link in links if rank in link.ranks)}
    if len(slow_ends) == len(ranks):
        slow_ends = set()
    for rank in sorted(slow_ends):
        worst = max((link for link in links if rank in link.ranks), key=severity)
        warnings.append(f"the link of {hosts[rank]} is slow: {fault(worst)}")
    for link in links:
        if link.ranks in slow and not slow_ends & set(link.ranks):
            first, second = (hosts[rank] for rank in link.ranks)
            warnings.append(f"the link between {first} and {second} is slow: {fault(link)}")
    return warnings
