"""What a checkup found, as text."""

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
    """A line for each rank, one for each link that was measured, and the verdict.

    Args:
        peers: host and process of each rank.
        controller: how the ranks are connected.
        found: as of cnn.cluster.checkup.
    """
    lines = [f"{'rank':>4} {'host':<24} {'device':<16} {'GFLOP/s':>8} {'load':>5} {'disk GB':>8} {'shm MB':>8}"]
    lines += [_rank_line(rank, peers[rank][0], machine) for rank, machine in enumerate(found.machines)]
    for pair in found.pairs:
        one, other = (peers[rank][0] for rank in pair.ranks)
        lines.append(f"link {one} - {other}: {1e3 * pair.latency:,.3f} ms, {pair.bytes_per_second / 1e6:,.0f} MB/s")
    if not found.pairs and len(peers) > 1:
        lines.append(f"links are measured under mpirun; these ranks are connected by {controller}")
    lines += [f"fault: {fault}" for fault in found.faults] + [f"warning: {warning}" for warning in found.warnings]
    workers = f"{len(peers)} worker{'s' if len(peers) > 1 else ''}"
    if found.faults:
        lines.append(f"verdict: {workers} cannot work together; mend the faults")
    elif found.warnings:
        lines.append(f"verdict: {workers} can work together, and will be held up by what the warnings name")
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
