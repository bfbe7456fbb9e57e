"""Whether the ranks of a job can work together, and which host or link holds the others up."""

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

_SHORT, _LONG = 1, 2**20
"""Bytes of the messages that latency and bandwidth are measured with."""

_SECONDS = 0.5
"""How long a link's bandwidth is measured at least, if it is fast enough."""

_SLOW = 2.0
"""How many times slower than the usual one a host or link is that is named."""

_NOTICEABLE = 1e-3
"""Seconds of latency below which none is worth naming."""

_LITTLE_DISK, _LITTLE_SHARED_MEMORY = 10**9, 64 * 2**20
_CLOCK_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """A link between two ranks, of different hosts where there are several."""

    ranks: tuple[int, int]
    latency: float
    """Seconds one way."""

    bytes_per_second: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkup:
    """What was found; the same on every rank."""

    machines: list[dict[str, Any]]
    """Of each rank."""

    pairs: list[Pair]
    faults: list[str]
    """Why the job cannot work, or not as it should."""

    warnings: list[str]


def check_up(cluster: Cluster, facts: dict[str, str]) -> Checkup:
    """Looks at every rank and at the links between them; every rank calls it.

    Args:
        cluster: the job.
        facts: what must be equal on all ranks besides the installation: a checksum of the data, say.
    """
    faults = differences(cluster, {**installation(), **facts})
    faults += _wrong_sums(cluster)
    machines = cluster.gather(_machine(cluster))
    pairs = _measure_pairs(cluster)
    names = [f"rank {rank} on {cluster.peers[rank][0]}" for rank in range(cluster.world_size)]
    warnings = _slow_ranks(machines, names) + slow_links(pairs, [str(peer[0]) for peer in cluster.peers])
    for machine, name in zip(machines, names, strict=True):
        for what, least in (("free_disk", _LITTLE_DISK), ("free_shared_memory", _LITTLE_SHARED_MEMORY)):
            if machine[what] < least:
                warnings.append(f"{name} has {machine[what] / 1e6:,.0f} MB of {what.replace('_', ' ')}")
        if abs(machine["clock"] - machines[0]["clock"]) > _CLOCK_SECONDS:
            warnings.append(f"the clock of {name} differs by {machine['clock'] - machines[0]['clock']:+.0f} s")
    return Checkup(machines=machines, pairs=pairs, faults=faults, warnings=warnings)


def _wrong_sums(cluster: Cluster) -> list[str]:
    """A sum over all ranks whose result is known."""
    numbers = np.arange(1000.0) * (cluster.rank + 1)
    expected = np.arange(1000.0) * sum(range(1, cluster.world_size + 1))
    wrong = cluster.gather(not np.array_equal(cluster.sum(numbers), expected))
    return [f"rank {rank} (on {cluster.peers[rank][0]}) has a wrong sum" for rank, it_is in enumerate(wrong) if it_is]


def _machine(cluster: Cluster) -> dict[str, Any]:
    cluster.gather(None)  # so that the clocks are read together
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
    """One after another, a rank of each host with one of each other; of one host's ranks, the first two."""
    if cluster.controller != "mpi" or cluster.world_size == 1:
        return []  # Gloo has no messages between two ranks
    from mpi4py import MPI  # imported, it starts MPI: not where Gloo connects the ranks

    hosts = [peer[0] for peer in cluster.peers]
    firsts = sorted({hosts.index(host) for host in hosts})
    if len(firsts) == 1:
        firsts = list(range(min(2, cluster.world_size)))
    pairs = []
    for position, one in enumerate(firsts):
        for other in firsts[position + 1 :]:
            found = None
            if cluster.rank in (one, other):
                partner = other if cluster.rank == one else one
                found = _ping_pong(MPI.COMM_WORLD, partner, first=cluster.rank == one)
            latency, rate = cluster.gather(found)[one]
            pairs.append(Pair(ranks=(one, other), latency=latency, bytes_per_second=rate))
    return pairs


def _ping_pong(world: Any, partner: int, *, first: bool) -> tuple[float, float]:
    """Latency in seconds one way, and bytes a second, as the first of two ranks measures them."""

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

    latency = one_way(_SHORT, 20)
    about = one_way(_LONG, 3)
    # On a fast link one message says little: whatever else happens on the host takes as long.
    mine = int(np.clip(_SECONDS / about, 2, 100))
    times = min(mine, world.sendrecv(mine, dest=partner, source=partner))
    return latency, _LONG / max(min(about, one_way(_LONG, times)) - latency, 1e-9)


def _slow_ranks(machines: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    rates = [machine["gigaflops"] for machine in machines]
    usual = statistics.median(rates)
    return [
        f"{name} computes {rate:,.0f} GFLOP/s where the others do {usual:,.0f}"
        for name, rate in zip(names, rates, strict=True)
        if rate * _SLOW < usual
    ]


def slow_links(pairs: Sequence[Pair], hosts: Sequence[str]) -> list[str]:
    """Names the hosts whose every link is slow beside the best link that there is, or single links that are.

    Args:
        pairs: measured.
        hosts: of each rank.
    """
    if len(pairs) < 2:
        return []
    latency = min(pair.latency for pair in pairs)
    rate = max(pair.bytes_per_second for pair in pairs)

    def fault(pair: Pair) -> str:
        if pair.latency > max(_SLOW * latency, _NOTICEABLE):
            return f"{1e3 * pair.latency:,.1f} ms where the best has {1e3 * latency:,.1f}"
        if pair.bytes_per_second * _SLOW < rate:
            return f"{pair.bytes_per_second / 1e6:,.0f} MB/s where the best has {rate / 1e6:,.0f}"
        return ""

    slow, said = {pair.ranks for pair in pairs if fault(pair)}, []
    ranks = sorted({rank for pair in pairs for rank in pair.ranks})
    culprits = {rank for rank in ranks if all(pair.ranks in slow for pair in pairs if rank in pair.ranks)}
    if len(culprits) == len(ranks):
        culprits = set()
    for rank in sorted(culprits):
        worst = max((pair for pair in pairs if rank in pair.ranks), key=lambda pair: pair.latency)
        said.append(f"the link of {hosts[rank]} is slow: {fault(worst)}")
    for pair in pairs:
        if pair.ranks in slow and not culprits & set(pair.ranks):
            said.append(f"the link between {hosts[pair.ranks[0]]} and {hosts[pair.ranks[1]]} is slow: {fault(pair)}")
    return said
