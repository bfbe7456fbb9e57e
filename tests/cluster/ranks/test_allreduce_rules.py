"""When Open MPI's choice of algorithm is replaced; tests/integration/test_cluster.py shows that it follows."""

import os
from pathlib import Path

import pytest

from cnn.cluster.ranks.allreduce_rules import allreduce_rules, rules

FILE = "OMPI_MCA_coll_tuned_dynamic_rules_filename"


def test_they_are_read_from_a_file_that_is_gone_afterwards() -> None:
    environ: dict[str, str] = {}
    with allreduce_rules(6, environ):
        assert environ["OMPI_MCA_coll_tuned_use_dynamic_rules"] == "1"
        assert Path(environ[FILE]).read_text() == rules(6)
        number = int(Path(environ[FILE]).name)
    assert environ == {}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


@pytest.mark.parametrize("world_size", [1, 2, 4, 64])
def test_for_a_power_of_two_open_mpi_chooses(world_size: int) -> None:
    environ: dict[str, str] = {}
    with allreduce_rules(world_size, environ):
        assert environ == {}


@pytest.mark.parametrize("name", ["OMPI_MCA_coll", "OMPI_MCA_coll_tuned_allreduce_algorithm"])
def test_the_user_chooses(name: str) -> None:
    environ = {name: "4"}
    with allreduce_rules(3, environ):
        assert environ == {name: "4"}
