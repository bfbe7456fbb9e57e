import pytest

from cnn.cluster.hosts.host_mapping_check import misplacement_error
from cnn.errors import UserError

MEANT = "train-worker-0.train.default.svc:2,train-worker-1.train.default.svc:2"


@pytest.mark.parametrize(
    "hosts",
    [
        ["train-worker-0", "train-worker-0", "train-worker-1", "train-worker-1"],
        ["train-worker-0.train.default.svc.cluster.local", "train-worker-1"],
    ],
)
def test_ranks_where_they_belong(hosts: list[str]) -> None:
    assert misplacement_error(hosts, MEANT) is None


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        (["train-launcher"] * 4, "4 ranks run on train-launcher, 0 were intended"),
        (["train-worker-0"] * 3 + ["train-worker-1"], "3 ranks run on train-worker-0, 2 were intended"),
    ],
)
def test_ranks_elsewhere_are_named(hosts: list[str], said: str) -> None:
    mistake = misplacement_error(hosts, MEANT)
    assert isinstance(mistake, UserError)
    assert said in str(mistake)


def test_hosts_of_one_name_in_two_domains_are_two() -> None:
    meant = "node1.left.test:1,node1.right.test:2"
    assert misplacement_error(["node1.left.test", "node1.right.test", "NODE1.right.test"], meant) is None
    assert misplacement_error(["node1"] * 3, meant) is None
    mistake = misplacement_error(["node1.left.test"] * 2 + ["node1.right.test"], meant)
    assert "2 ranks run on node1.left.test, 1 were intended" in str(mistake)


def test_nothing_is_said_where_nothing_was_meant() -> None:
    assert misplacement_error(["anywhere"], None) is None
