"""The findings of a checkup as text."""

from collections.abc import Sequence
from typing import Any, Protocol


class _Rank(Protocol):
    """The fields needed here of cnn.cluster.ranks.checkup.RankMeasurements."""

    threads: int
    gpus: list[str]
    gigaflops: float
    load: float
    free_disk: int
    free_shared_memory: int | None


class _Checkup(Protocol):
    """The fields needed here of cnn.cluster.ranks.checkup.Checkup."""

    measurements: Any
    links: Any
    faults: list[str]
    warnings: list[str]


def checkup_table(peers: Sequence[Sequence[Any]], controller: str, checkup: _Checkup) -> str:
    """Returns a line for each rank, a line for each measured link, and the verdict.

    Args:
        peers: host and process of each rank.
        controller: how the ranks are connected: mpi, gloo or none.
        checkup: the findings.
    """
    lines = [f"{'rank':>4} {'host':<24} {'device':<16} {'GFLOP/s':>8} {'load':>5} {'disk GB':>8} {'shm MB':>8}"]
    lines += [_rank_line(rank, peers[rank][0], measured) for rank, measured in enumerate(checkup.measurements)]
    for link in checkup.links:
        first, second = (peers[rank][0] for rank in link.ranks)
        lines.append(f"link {first} - {second}: {1e3 * link.latency:,.3f} ms, {link.bytes_per_second / 1e6:,.0f} MB/s")
    if not checkup.links and len(peers) > 1:
        lines.append(f"links are measured only under mpirun; these ranks are connected by {controller}")
    lines += [f"fault: {fault}" for fault in checkup.faults] + [f"warning: {warning}" for warning in checkup.warnings]
    workers = f"{len(peers)} worker{'s' if len(peers) > 1 else ''}"
    if checkup.faults:
        lines.append(f"verdict: {workers} cannot work together; fix the faults")
    elif checkup.warnings:
        lines.append(f"verdict: {workers} can work together, but the warnings name what will slow them down")
    else:
        lines.append(f"verdict: {workers} can work together")
    return "\n".join(lines)


def _rank_line(rank: int, host: str, measured: _Rank) -> str:
    device = measured.gpus[0].rpartition("device:")[2] if measured.gpus else f"{measured.threads} threads"
    shared = measured.free_shared_memory
    shared_mebibytes = "-" if shared is None else f"{shared / 2**20:,.0f}"
    return (
        f"{rank:>4} {host:<24} {device:<16} {measured.gigaflops:>8,.0f} {measured.load:>5.1f} "
        f"{measured.free_disk / 1e9:>8,.0f} {shared_mebibytes:>8}"
    )
