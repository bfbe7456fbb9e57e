"""By which ways ranks over MPI reach each other, and whether they listen to other machines."""

import pytest

from cnn.cluster.launchers.mpi_ports import MEMORY_PER_RANK, transports
from cnn.cluster.launchers.process import Launch

ENOUGH = 4 * MEMORY_PER_RANK


def launch(*, size: int = 4, local_size: int = 4, controller: str = "mpi") -> Launch:
    return Launch(controller=controller, rank=0, world_size=size, local_rank=0, local_size=local_size, bound=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("chosen", "right"),
    [(None, "^tcp"), ("", "^tcp"), ("^openib", "^openib,tcp"), ("^tcp,ofi", "^tcp,ofi"), ("tcp,self", "tcp,self")],
)
def test_on_one_machine_tcp_is_left_out_unless_the_user_wants_it(chosen: str | None, right: str) -> None:
    environ = {} if chosen is None else {"OMPI_MCA_btl": chosen}
    assert transports(launch(), environ, ENOUGH) == right


@pytest.mark.parametrize(
    ("place", "memory"),
    [
        (launch(size=8), ENOUGH),
        (launch(controller="gloo"), ENOUGH),
        (launch(), ENOUGH - 1),
    ],
    ids=["several machines", "Gloo", "a container with little shared memory"],
)
def test_elsewhere_it_is_needed(place: Launch, memory: int) -> None:
    assert transports(place, {}, memory) is None
    assert transports(place, {"OMPI_MCA_btl": "^openib"}, memory) == "^openib"
