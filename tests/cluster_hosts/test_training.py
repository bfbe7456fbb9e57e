"""Three hosts train one network, by each launcher; what holds on one machine holds across them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .hosts import NAMES, PYTHON, Hosts, Started

pytestmark = pytest.mark.cluster
THREE = ",".join(f"{name}:1" for name in NAMES)
LAUNCHERS = {
    "mpirun": ("mpirun.sh",),
    "horovodrun over Gloo": ("horovodrun.sh", "--controller", "gloo"),
    "horovodrun over MPI": ("horovodrun.sh", "--controller", "mpi"),
}


@pytest.mark.parametrize(
    "launcher", [pytest.param("mpirun", marks=pytest.mark.short), "horovodrun over Gloo", "horovodrun over MPI"]
)
def test_three_hosts_train(hosts: Hosts, tmp_path: Path, launcher: str) -> None:
    script, *options = LAUNCHERS[launcher]
    settings = ("--model", "lenet5", "--data", "digits", "--epochs", 15, "--learning_rate", 0.005)
    command = ("bash", f"launch/{script}", *options, "-H", THREE, "--", *settings, "--run_dir", tmp_path / "run")
    ended = hosts.run(*command)
    assert ended.code == 0, ended.output
    topology = json.loads((tmp_path / "run" / "environment.json").read_text())["topology"]
    assert topology["hosts"] == list(NAMES)
    assert topology["controller"] == ("gloo" if "Gloo" in launcher else "mpi")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["test_accuracy"] > 0.8
    print(f"{launcher}: {summary['test_accuracy']:.1%} on {topology['hosts']}, {ended.seconds:.0f} s")


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun"])
def test_the_proof_holds_across_hosts(hosts: Hosts, launcher: str) -> None:
    before = hosts.entered(NAMES[2])
    settings = ("--models", "lenet5", "--workers", 2, 3, "--launcher", f"{launcher} -H {THREE}")
    ended = hosts.run(PYTHON, "jobs/prove.py", *settings)
    assert ended.code == 0, ended.output
    rows = re.findall(r"^lenet5 +(\d) .* holds$", ended.output, re.MULTILINE)
    assert rows == ["1", "2", "3"]
    assert hosts.entered(NAMES[2]) > before  # the third worker was there
    print(ended.output)


def endless(hosts: Hosts, run: Path, script: str) -> Started:
    """A run that has saved something."""
    settings = ("--model", "fcnn", "--data", "digits", "--steps", 10_000_000, "--save_every", 100, "--run_dir", run)
    job = hosts.start("bash", f"launch/{script}", "-H", THREE, "--", *settings)
    job.wait_for(lambda: any(run.glob("checkpoints/step-*")))
    return job


@pytest.mark.parametrize("script", ["mpirun.sh", "horovodrun.sh"])
def test_a_worker_that_is_lost_on_another_host_ends_all(hosts: Hosts, tmp_path: Path, script: str) -> None:
    job = endless(hosts, tmp_path / "run", script)
    hosts[NAMES[2]].call("pkill", "-KILL", "--full", "^[^ ]*python jobs/train.py")
    ended = job.end()
    assert ended.code not in (0, 75), ended.output
    assert "Traceback" not in ended.output
    reasons = (tmp_path / "run" / "failure.log").read_text()
    assert ("was lost" in reasons or "has exited" in reasons) and "--resume`" in reasons, reasons
    for name in NAMES:
        assert not hosts[name].processes("jobs/train.py")


@pytest.mark.parametrize("script", ["mpirun.sh", "horovodrun.sh"])
def test_a_job_that_is_ended_saves_first_on_all_hosts(hosts: Hosts, tmp_path: Path, script: str) -> None:
    job = endless(hosts, tmp_path / "run", script)
    hosts[NAMES[0]].call("pkill", "-TERM", "--full", "cnn.launching.launcher")
    ended = job.end()
    assert ended.code == 75, ended.output
    said = re.search(r"stopped: at step ([\d,]+) of 10,000,000, which is saved", ended.output)
    assert said, ended.output
    step = int(said[1].replace(",", ""))
    assert list((tmp_path / "run" / "checkpoints").glob(f"step-*{step:09d}*"))


def workers_are(run: Path, names: tuple[str, ...]) -> bool:
    """Whether those of a run are on these hosts."""
    file = run / "environment.json"
    return file.exists() and json.loads(file.read_text())["topology"]["hosts"] == list(names)


def they_train(run: Path) -> Callable[[], bool]:
    """Tells whether there are more points of the curve than now."""
    points = run / "metrics.jsonl"
    now = points.stat().st_size
    return lambda: points.stat().st_size > now


def test_an_elastic_job_that_begins_on_one_host_takes_in_another(hosts: Hosts, tmp_path: Path) -> None:
    run, script, now = tmp_path / "run", tmp_path / "hosts.sh", tmp_path / "now"
    now.write_text(f"{NAMES[0]}:1\n")
    script.write_text(f"#!/bin/sh\ncat {now}\n")
    script.chmod(0o755)
    settings = ("--model", "fcnn", "--data", "digits", "--steps", 10_000_000, "--save_every", 100, "--run_dir", run)

    hosts[NAMES[0]].call("ip", "route", "add", "default", "dev", "eth0")
    try:
        job = hosts.start("bash", "launch/elastic.sh", script, "--", *settings)
        job.wait_for(lambda: any(run.glob("checkpoints/step-*")))
        now.write_text(f"{NAMES[0]}:1\n{NAMES[1]}:1\n")
        job.wait_for(lambda: workers_are(run, NAMES[:2]))
        job.wait_for(they_train(run))
        hosts[NAMES[0]].call("pkill", "-TERM", "--full", "cnn.launching.elastic_launcher")
        ended = job.end()
    finally:
        hosts[NAMES[0]].call("ip", "route", "del", "default")
    assert ended.code == 75, ended.output
    for name in NAMES:
        assert not hosts[name].processes("jobs/train.py")


def test_an_elastic_job_whose_workers_are_all_on_other_hosts_saves_when_it_is_ended(
    hosts: Hosts, tmp_path: Path
) -> None:
    """The launcher of pods is such a one."""
    run, script = tmp_path / "run", tmp_path / "hosts.sh"
    script.write_text(f"#!/bin/sh\necho {NAMES[1]}:1\necho {NAMES[2]}:1\n")
    script.chmod(0o755)
    settings = ("--model", "fcnn", "--data", "digits", "--steps", 10_000_000, "--save_every", 100, "--run_dir", run)
    job = hosts.start("bash", "launch/elastic.sh", script, "--", *settings)
    job.wait_for(lambda: any(run.glob("checkpoints/step-*")))
    hosts[NAMES[2]].call("pkill", "-KILL", "--full", "^[^ ]*python jobs/train.py")
    job.wait_for(lambda: workers_are(run, NAMES[1:2]))
    job.wait_for(lambda: workers_are(run, NAMES[1:]))
    job.wait_for(they_train(run))
    hosts[NAMES[0]].call("pkill", "-TERM", "--full", "cnn.launching.elastic_launcher")
    ended = job.end()
    assert ended.code == 75, ended.output
    assert "which is saved; resume with `" in (run / "failure.log").read_text()
    for name in NAMES:
        assert not hosts[name].processes("jobs/train.py")
