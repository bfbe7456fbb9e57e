import pytest

from cnn.cluster.hosts.expected_workers import unexpected_workers
from cnn.errors import UserError


def _order(hosts: str, workers_per_host: str = "1") -> dict[str, str]:
    return {"CNN_EXPECTED_HOSTS": hosts, "CNN_EXPECTED_WORKERS_PER_HOST": workers_per_host}


@pytest.mark.parametrize(
    ("hosts", "order"),
    [
        (["a", "b"], _order("2")),
        (["a", "b", "A.", "b"], _order("2", "2")),
        (["a"], _order("1-3")),
        (["a", "b", "c"], _order("1-3")),
        (["a", "a", "b"], {"CNN_EXPECTED_HOSTS": "2"}),
        (["a", "b", "c"], {"CNN_EXPECTED_WORKERS_PER_HOST": "1"}),
        (["anywhere", "anywhere"], {}),
    ],
)
def test_ordered_workers_are_accepted(hosts: list[str], order: dict[str, str]) -> None:
    assert unexpected_workers(hosts, order) is None


@pytest.mark.parametrize(
    ("hosts", "order", "found"),
    [
        (["a"], _order("2"), "1 on a"),
        (["a", "a"], _order("2"), "2 on a"),
        (["a", "b", "c"], _order("2"), "1 on a, 1 on b, 1 on c"),
        (["a", "b", "b"], _order("2"), "1 on a, 2 on b"),
        (["a", "a", "a", "b"], _order("2", "2"), "3 on a, 1 on b"),
        (["a", "b", "c", "d"], _order("1-3"), "1 on a, 1 on b, 1 on c, 1 on d"),
        (["a"], _order("2-3"), "1 on a"),
    ],
)
def test_other_workers_are_refused_with_the_order(hosts: list[str], order: dict[str, str], found: str) -> None:
    error = unexpected_workers(hosts, order)
    assert isinstance(error, UserError)
    assert f"there are {found}." in str(error)
    assert f"CNN_EXPECTED_HOSTS={order['CNN_EXPECTED_HOSTS']}" in str(error)
