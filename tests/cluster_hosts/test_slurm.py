"""A job under Slurm: on two hosts, warned before its time is over, and put into the queue again."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cnn.monitoring.records.metrics import read_metrics

from .hosts import Hosts
from .slurm import NODES, Slurm, missing

pytestmark = pytest.mark.cluster
_SECONDS = 240


@pytest.fixture(scope="module")
def slurm(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Slurm:
    lacking = missing()
    if lacking:
        pytest.skip(f"a Slurm cluster needs {lacking}")
    return Slurm(hosts, tmp_path_factory.mktemp("slurm"))


def wait_for(slurm: Slurm, job: str, happened: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """What Slurm says of a job once something is so; asking takes Slurm a while itself."""
    deadline = time.monotonic() + _SECONDS
    while not happened(state := slurm.state(job)):
        assert time.monotonic() < deadline, (state, output(state))
    return state


def output(state: dict[str, str]) -> str:
    path = Path(state["StdOut"])
    return path.read_text() if path.exists() else ""


def submit(slurm: Slurm, tmp_path: Path, *settings: object) -> str:
    options = (
        "--nodes",
        2,
        "--ntasks-per-node",
        2,
        "--output",
        tmp_path / "output",
        "--export",
        f"ALL,CNN_RUN_DIR={tmp_path / 'run'}",
    )
    return slurm.submit(*options, "launch/slurm.sbatch", "--model", "fcnn", "--data", "digits", *settings)


def test_a_job_trains_on_two_hosts(slurm: Slurm, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path, "--epochs", 2)
    state = wait_for(slurm, job, lambda state: state["JobState"] not in ("PENDING", "RUNNING", "COMPLETING"))
    assert (state["JobState"], state["ExitCode"]) == ("COMPLETED", "0:0"), output(state)
    topology = json.loads((tmp_path / "run" / "environment.json").read_text())["topology"]
    assert topology["hosts"] == [name for name in NODES for _ in range(2)]
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_warned_job_saves_and_goes_on_from_there(slurm: Slurm, tmp_path: Path) -> None:
    run, steps = tmp_path / "run", 1_500
    job = submit(slurm, tmp_path, "--steps", steps, "--save_every", 100)
    wait_for(slurm, job, lambda state: any(run.glob("checkpoints/step-*")))
    slurm.call("scancel", "--batch", "--signal", "USR1", job)  # as Slurm does before a job's time is over
    state = wait_for(slurm, job, lambda state: state["Restarts"] == "1")
    said = output(state)
    assert "SIGUSR1: stopping after this step" in said
    assert "the job is requeued, and will continue from its last checkpoint" in said
    state = wait_for(
        slurm, job, lambda state: state["JobState"] not in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED")
    )
    assert (state["JobState"], state["ExitCode"], state["Restarts"]) == ("COMPLETED", "0:0", "1"), output(state)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == steps
    trained = [record["step"] for record in read_metrics(run / "metrics.jsonl") if record["part"] == "train"]
    assert trained == sorted(set(trained))  # nothing twice
    assert "resum" in output(state)[len(said) :].lower(), output(state)
    print(output(state))


@pytest.mark.short
def test_what_is_no_job_of_slurm_is_told(hosts: Hosts) -> None:
    ended = hosts.run("bash", "launch/slurm.sbatch")
    assert (ended.code, ended.output.count("\n")) == (2, 1)
    assert ended.output.startswith("error: this is for Slurm: start it by 'sbatch launch/slurm.sbatch'")
