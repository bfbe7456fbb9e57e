"""Which link is named; tests/integration/test_doctor.py runs the whole."""

import pytest

from cnn.cluster.checkup import Pair, slow_links

HOSTS = ["a", "b", "c"]


def links(ab: float, ac: float, bc: float, rates: tuple[float, float, float] = (1e9, 1e9, 1e9)) -> list[Pair]:
    ranks = ((0, 1), (0, 2), (1, 2))
    return [
        Pair(ranks=each, latency=latency, bytes_per_second=rate)
        for each, latency, rate in zip(ranks, (ab, ac, bc), rates, strict=True)
    ]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (links(1e-4, 1e-4, 1.5e-4), []),
        (links(1e-5, 8e-4, 9e-4), []),  # many times the best, and still nothing that a step would notice
        (links(1e-4, 2e-2, 2e-2), ["the link of c is slow: 20.0 ms, the best link has 0.1"]),
        (links(2e-2, 1e-4, 2e-2), ["the link of b is slow: 20.0 ms, the best link has 0.1"]),
        (links(2e-2, 1e-4, 1e-4), ["the link between a and b is slow: 20.0 ms, the best link has 0.1"]),
        (links(1e-4, 1e-4, 1e-4, (1e9, 1e8, 1e8)), ["the link of c is slow: 100 MB/s, the best link has 1,000"]),
        (links(2e-2, 2e-2, 2e-2), []),  # far from each other, all alike
        (links(1e-4, 1e-4, 1e-4)[:1], []),
    ],
)
def test_the_host_that_all_slow_links_have_in_common_is_named(pairs: list[Pair], said: list[str]) -> None:
    assert slow_links(pairs, HOSTS) == said
