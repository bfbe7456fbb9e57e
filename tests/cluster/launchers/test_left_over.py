"""What another launcher has left in the environment neither crashes a job nor stops it from starting."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnn.cluster.launchers.left_over import contradiction, live_launch, prepare_launch
from cnn.cluster.launchers.process import ALONE, launch_from_environment
from cnn.errors import UserError

from .test_process import GLOO, MPI

ROOT = Path(__file__).parents[3]


@pytest.fixture
def port() -> Iterator[int]:
    """One where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def servers(port: int) -> list[dict[str, str]]:
    """The environments of ranks whose launcher listens on a port."""
    rendezvous = {"HOROVOD_GLOO_RENDEZVOUS_PORT": str(port)}
    return [
        {**MPI, "PMIX_SERVER_URI2": f"7.0;tcp4://127.0.0.1:{port}"},
        {**GLOO, **rendezvous, "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1"},
        {**GLOO, **rendezvous, "HOROVOD_GLOO_RENDEZVOUS_ADDR": f"127.0.0.1:{port}/a-secret"},
    ]


def test_a_launcher_that_listens_is_there(port: int) -> None:
    for environment in servers(port):
        launch = launch_from_environment(environment)
        assert live_launch(launch, environment) == launch
    assert live_launch(ALONE, {}) == ALONE


def test_of_a_launcher_that_has_ended_nothing_is_believed(closed_port: int) -> None:
    for environment in (*servers(closed_port), MPI, GLOO, {**GLOO, "HOROVOD_GLOO_RENDEZVOUS_PORT": "99999999"}):
        with pytest.raises(
            UserError, match=r"(OMPI_COMM_WORLD_|HOROVOD_)SIZE=[38] is left over from a (mpi|horovod)run"
        ):
            live_launch(launch_from_environment(environment), environment)
    one = {**MPI, "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}
    assert live_launch(launch_from_environment(one), one) == ALONE


@pytest.mark.parametrize("name", ["HOROVOD_CPU_OPERATIONS", "HOROVOD_CONTROLLER"])
def test_who_asks_for_another_way_than_the_launcher_s_is_told(name: str) -> None:
    assert "HOROVOD_C" in str(contradiction("mpi", {name: "gloo"}))
    assert f"{name} is MPI, but the launcher connects these ranks by gloo" in str(contradiction("gloo", {name: "MPI"}))
    for controller, value in (("mpi", "mpi"), ("gloo", "GLOO"), ("none", "gloo"), ("mpi", "")):
        assert contradiction(controller, {name: value}) is None


def test_a_launcher_forgets_the_rank_that_it_is_itself(port: int, closed_port: int) -> None:
    mine = {"PATH": "/bin", "OMPI_MCA_orte_tmpdir_base": "/scratch", "HOROVOD_CYCLE_TIME": "1"}
    operator = {"OMPI_MCA_orte_keep_fqdn_hostnames": "true", "OMPI_MCA_orte_default_hostfile": "/etc/mpi/hostfile"}
    one = {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0", "OMPI_MCA_ess": "^singleton"}
    for environment in ({**MPI, **one, "PMIX_SERVER_URI2": f"7.0;tcp4://127.0.0.1:{port}"}, *servers(closed_port)):
        environ = {**environment, **mine, **operator}
        prepare_launch(environ, "gloo", interactive=False)
        assert environ == {**mine, **operator}
    wishes = {"HOROVOD_CPU_OPERATIONS": "gloo", "PMIX_MCA_gds": "hash", "OPAL_PREFIX": "/opt"}
    environ = dict(wishes)
    prepare_launch(environ, "gloo", interactive=False)
    assert environ == wishes


def test_a_launcher_is_not_started_by_each_of_several(port: int) -> None:
    for environment in servers(port):
        with pytest.raises(UserError, match="each of [38] ranks would start a separate job"):
            prepare_launch(dict(environment), "gloo", interactive=True)
    torchrun = {"WORLD_SIZE": "2", "RANK": "0"}
    with pytest.raises(UserError, match="torchrun"):
        prepare_launch(dict(torchrun), "gloo", interactive=False)
    prepare_launch(dict(torchrun), "gloo", interactive=True)


def train(*words: str, **environment: str) -> tuple[int, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CNN_", "HOROVOD_", "OMPI_"))}
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(
        [*words, "--model", "nosuch"],
        cwd=ROOT,
        env={**clean, **root, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_ranks_that_are_told_to_use_gloo_by_mpirun_say_so_instead_of_crashing() -> None:
    """Horovod's segmentation fault."""
    program = (str(ROOT / ".venv/bin/mpirun"), "--oversubscribe", "-np", "2", str(ROOT / ".venv/bin/python"))
    code, output = train(*program, "jobs/doctor.py", HOROVOD_CPU_OPERATIONS="gloo")
    assert code == 2, output
    assert "Segmentation" not in output
    assert output.count("error: ") == 1
    code, output = train("bash", "launch/mpirun.sh", "-np", "2", "--", HOROVOD_CPU_OPERATIONS="gloo")
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith("error: HOROVOD_CPU_OPERATIONS is gloo, but the launcher connects these ranks by mpi")


def test_what_is_left_over_of_mpirun_is_told_before_mpi_starts() -> None:
    code, output = train(str(ROOT / ".venv/bin/python"), "jobs/train.py", **MPI)
    assert (code, output.count("\n")) == (2, 1), output
    assert output.startswith("error: OMPI_COMM_WORLD_SIZE=8 is left over from a mpirun")
