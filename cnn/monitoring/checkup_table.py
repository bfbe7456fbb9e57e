"""The findings of a checkup as text."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class _Pair(Protocol):
    ranks: tuple[int, int]
    latency: float
    bytes_per_second: float


class _Checkup(Protocol):
    machines: list[dict[str, Any]]
    pairs: Any
    faults: list[str]
    warnings: list[str]


def checkup_table(peers: Sequence[Sequence[Any]], controller: str, found: _Checkup) -> str:
    """Returns a line for each rank, a line for each measured link, and the verdict.

    Args:
        peers: host and process of each rank.
        controller: how the ranks are connected: mpi, gloo or none.
        found: the findings of cnn.cluster.checkup.
    """
    lines = [f"{'rank':>4} {'host':<24} {'device':<16} {'GFLOP/s':>8} {'load':>5} {'disk GB':>8} {'shm MB':>8}"]
    lines += [_rank_line(rank, peers[rank][0], machine) for rank, machine in enumerate(found.machines)]
    for pair in found.pairs:
        first, second = (peers[rank][0] for rank in pair.ranks)
        lines.append(f"link {first} - {second}: {1e3 * pair.latency:,.3f} ms, {pair.bytes_per_second / 1e6:,.0f} MB/s")
    if not found.pairs and len(peers) > 1:
        lines.append(f"links are measured only under mpirun; these ranks are connected by {controller}")
    lines += [f"fault: {fault}" for fault in found.faults] + [f"warning: {warning}" for warning in found.warnings]
    workers = f"{len(peers)} worker{'s' if len(peers) > 1 else ''}"
    if found.faults:
        lines.append(f"verdict: {workers} cannot work together; fix the faults")
    elif found.warnings:
        lines.append(f"verdict: {workers} can work together, but the warnings name what will slow them down")
    else:
        lines.append(f"verdict: {workers} can work together")
    return "\n".join(lines)


def _rank_line(rank: int, host: str, machine: Mapping[str, Any]) -> str:
    device = (
        f"{machine['threads']} threads" if not machine["gpus"] else str(machine["gpus"][0]).rpartition(":device:")[2]
    )
    return (
        f"{rank:>4} {host:<24} {device:<16} {machine['gigaflops']:>8,.0f} {machine['load']:>5.1f} "
        f"{machine['free_disk'] / 1e9:>8,.0f} {machine['free_shared_memory'] / 2**20:>8,.0f}"
    )
