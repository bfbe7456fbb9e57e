"""The warnings of a checkup; tests/integration/test_doctor.py runs the complete one."""

import dataclasses

import pytest

from cnn.cluster.ranks.checkup import Checkup, Link, RankMeasurements, scarce_resources, slow_links, slow_ranks
from cnn.monitoring.terminal.checkup_table import checkup_table

HOSTS = ["a", "b", "c"]
NAMES = [f"rank {rank} on {host}" for rank, host in enumerate(HOSTS)]
RANK = RankMeasurements(
    clock=0.0, threads=2, gpus=[], unused_gpu="", gigaflops=83.0, load=0.0, free_disk=10**12, free_shared_memory=2**30
)


def links(ab: float, ac: float, bc: float, rates: tuple[float, float, float] = (1e9, 1e9, 1e9)) -> list[Link]:
    ranks = ((0, 1), (0, 2), (1, 2))
    return [
        Link(ranks=each, latency=latency, bytes_per_second=rate)
        for each, latency, rate in zip(ranks, (ab, ac, bc), rates, strict=True)
    ]


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (links(1e-4, 1e-4, 1.5e-4), []),
        (links(1e-5, 8e-4, 9e-4), []),  # many times the best, but short compared with a step
        (links(1e-4, 2e-2, 2e-2), ["the link of c is slow: 20.0 ms, whereas the best link has 0.1 ms"]),
        (links(2e-2, 1e-4, 2e-2), ["the link of b is slow: 20.0 ms, whereas the best link has 0.1 ms"]),
        (links(2e-2, 1e-4, 1e-4), ["the link between a and b is slow: 20.0 ms, whereas the best link has 0.1 ms"]),
        (
            links(1e-4, 1e-4, 1e-4, (1e9, 1e8, 1e8)),
            ["the link of c is slow: 100 MB/s, whereas the best link has 1,000 MB/s"],
        ),
        (  # the slower of the two, although the other one's latency is higher
            links(1e-4, 2e-4, 1e-4, (1e9, 1e8, 5e7)),
            ["the link of c is slow: 50 MB/s, whereas the best link has 1,000 MB/s"],
        ),
        (  # the one with the slow latency, although the other one's bandwidth is lower
            links(1e-4, 2e-2, 1e-4, (1e9, 1e9, 5e7)),
            ["the link of c is slow: 20.0 ms, whereas the best link has 0.1 ms"],
        ),
        (links(2e-2, 2e-2, 2e-2), []),  # all equally far apart
        (links(1e-4, 1e-4, 1e-4)[:1], []),
    ],
)
def test_the_host_that_all_slow_links_have_in_common_is_named(measured: list[Link], expected: list[str]) -> None:
    assert slow_links(measured, HOSTS) == expected


def test_a_slow_rank_is_named() -> None:
    ranks = [RANK, RANK, dataclasses.replace(RANK, gigaflops=40.0)]
    assert slow_ranks(ranks, NAMES) == ["rank 2 on c computes only 40 GFLOP/s (median 83)"]


def test_scarce_resources_are_named_but_not_absent_shared_memory() -> None:
    ranks = [
        dataclasses.replace(RANK, free_shared_memory=None),
        dataclasses.replace(RANK, free_shared_memory=0),
        dataclasses.replace(RANK, free_disk=5 * 10**8),
    ]
    assert scarce_resources(ranks, NAMES) == [
        "rank 1 on b has only 0 MB of free shared memory",
        "rank 2 on c has only 500 MB of free disk",
    ]


def test_the_table_has_a_line_per_rank() -> None:
    ranks = [RANK, dataclasses.replace(RANK, free_shared_memory=None, gpus=["/physical_device:GPU:3"])]
    found = Checkup(measurements=ranks, links=[], faults=[], warnings=[])
    lines = checkup_table([("a", 1), ("b", 2)], "gloo", found).splitlines()
    assert lines[1].split() == ["0", "a", "2", "threads", "83", "0.0", "1,000", "1,024"]
    assert lines[2].split() == ["1", "b", "GPU:3", "83", "0.0", "1,000", "-"]
    assert lines[-1] == "verdict: 2 workers can work together"
