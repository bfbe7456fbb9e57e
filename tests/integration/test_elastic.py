"""Workers that are lost and others that come, under horovodrun: training goes on, as if with one worker."""

import json
import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn.monitoring.records.metrics import read_metrics
from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint

from .conftest import ROOT, Jobs
from .processes import process_of_rank, process_started_as, until, wait_for, wait_for_workers

STEPS = 300


def train(folder: Path, precision: str = "float64", steps: int = STEPS) -> list[str]:
    size = ("--model", "lenet5", "--global_batch_size", 100, "--save_every", 5, "--precision", precision)
    settings = ("--data", "digits", *size, "--steps", steps, "--log_every", 1, "--run_dir", folder)
    return ["jobs/train.py", *map(str, settings)]


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    """What the discovery script prints. Three names of this machine are three hosts to horovodrun."""
    file = tmp_path / "hosts"
    file.write_text("localhost:2\n127.0.0.1:2\n")
    script = tmp_path / "discover.sh"
    script.write_text(f"#!/bin/sh\ncat {file}\n")
    script.chmod(0o755)
    return file


def start(jobs: Jobs, hosts: Path, *settings: str, output: Any) -> subprocess.Popen[bytes]:
    """Starts two to four workers, the hosts being what the script prints."""
    command = [jobs.python, "-m", "cnn.launching.elastic_launcher", hosts.with_name("discover.sh")]
    limits = ["--min", "2", "--max", "4", "--interface", "lo", "--"]
    environment = {**jobs.environment, "HOROVOD_GLOO_TIMEOUT_SECONDS": "10"}  # a loss may be noticed as late as that
    job = subprocess.Popen(
        [*command, *limits, *settings], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
    )
    jobs.started.append(job)
    return job


def rank_of_host(folder: Path, host: str) -> int:
    for rank in range(4):
        process = process_started_as(rank, "jobs/train.py", str(folder))
        environment = Path("/proc", str(process), "environ").read_bytes().split(b"\0")
        if f"HOROVOD_HOSTNAME={host}".encode() in environment:
            return rank
    raise AssertionError(f"no rank is on {host}")


@pytest.mark.parametrize(
    ("begun", "precision", "settings", "tolerance"),
    [
        ("checkpoints/step-000000005.npz", "float64", ("--exchange", "sharded"), 1e-9),
        pytest.param("settings.yaml", "float64", (), 1e-9, marks=pytest.mark.faults),
        pytest.param("checkpoints/step-000000005.npz", "float32", ("--reproducible",), 0, marks=pytest.mark.faults),
    ],
)
def test_four_workers_then_two_then_three(
    jobs, hosts: Path, tmp_path: Path, begun: str, precision: str, settings: tuple[str, ...], tolerance: float
) -> None:
    """One is lost when training has begun, or before there is anything to go on from."""
    elastic, alone = tmp_path / "elastic", tmp_path / "alone"
    checkpoints = CheckpointFolder(elastic / "checkpoints")
    with open(tmp_path / "output", "w+b") as output:
        job = start(jobs, hosts, *train(elastic, precision, 1_000_000)[1:], *settings, output=output)
        wait_for(elastic / begun, job)
        os.kill(process_of_rank(rank_of_host(elastic, "127.0.0.1"), elastic), signal.SIGKILL)
        wait_for_workers(elastic, 2, job)
        hosts.write_text(f"localhost:2\n{socket.gethostname()}:1\n")
        wait_for_workers(elastic, 3, job)
        before = max(checkpoints.steps(), default=0)
        until(lambda: max(checkpoints.steps(), default=0) > before + 5, job)
        job.terminate()
        assert job.wait(timeout=60) == 75, (tmp_path / "output").read_text()

    steps = checkpoints.steps()[-1]
    code, said = jobs.run(*train(alone, precision, steps), *settings)
    assert code == 0, said
    found, record = load_checkpoint(checkpoints.path(steps))
    right, _ = load_checkpoint(CheckpointFolder(alone / "checkpoints").path(steps))
    assert record["world_size"] == 3
    points = [record for record in read_metrics(elastic / "metrics.jsonl") if record["part"] == "train"]
    assert [point["step"] for point in points] == list(range(1, steps + 1))
    for name, values in right.items():
        assert np.linalg.norm(found[name] - values) <= tolerance * np.linalg.norm(values), name


@pytest.mark.faults
def test_rank_0_is_lost_and_another_one_speaks_and_writes(jobs, hosts: Path, tmp_path: Path) -> None:
    elastic, alone, output = tmp_path / "elastic", tmp_path / "alone", tmp_path / "output"
    checkpoints = CheckpointFolder(elastic / "checkpoints")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    more = ("--log_every", "7", "--validation_fraction", "0.1", "--metrics_port", str(port))
    with open(output, "w+b") as file:
        job = start(jobs, hosts, *train(elastic)[1:], *more, output=file)
        wait_for(checkpoints.path(5), job)
        os.kill(process_of_rank(0, elastic), signal.SIGKILL)
        wait_for_workers(elastic, 2, job)
        before = checkpoints.steps()[-1]
        until(lambda: checkpoints.steps()[-1] > before, job)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=30) as answer:
            assert "cnn_workers 2.0" in answer.read().decode()
        job.terminate()
        assert job.wait(timeout=60) == 75, output.read_text()
    stopped = checkpoints.steps()[-1]
    assert f"stopped: at step {stopped} of {STEPS}, which is saved" in output.read_text()
    with open(output, "w+b") as file:
        assert start(jobs, hosts, *train(elastic)[1:], *more, output=file).wait(timeout=240) == 0, output.read_text()

    code, said = jobs.run(*train(alone), *more)
    assert code == 0, said
    found, right = read_metrics(elastic / "metrics.jsonl"), read_metrics(alone / "metrics.jsonl")
    assert [(point["part"], point["step"]) for point in found] == [(point["part"], point["step"]) for point in right]
    assert [point["loss"] for point in found] == pytest.approx([point["loss"] for point in right], rel=1e-9)
    best = [load_checkpoint(CheckpointFolder(folder / "checkpoints").best) for folder in (elastic, alone)]
    assert best[0][1]["progress"]["best_step"] == best[1][1]["progress"]["best_step"]


@pytest.mark.faults
def test_a_worker_that_is_lost_before_the_first_step_of_a_resume_loses_nothing(
    jobs, hosts: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    settings = train(folder)
    settings[settings.index("--steps") + 1] = "40"
    code, said = jobs.run(*settings)
    assert code == 0, said
    before = read_metrics(folder / "metrics.jsonl")
    settings[settings.index("--steps") + 1] = "60"
    with open(tmp_path / "output", "w+b") as output:
        job = start(jobs, hosts, *settings[1:], output=output)
        wait_for_workers(folder, 4, job)  # said before anything is compiled
        os.kill(process_of_rank(rank_of_host(folder, "127.0.0.1"), folder), signal.SIGKILL)
        assert job.wait(timeout=240) == 0, (tmp_path / "output").read_text()
    points = read_metrics(folder / "metrics.jsonl")
    assert points[: len(before)] == before
    assert [point["step"] for point in points if point["part"] == "train"] == list(range(1, 61))
    assert json.loads((folder / "environment.json").read_text())["topology"]["world_size"] == 2


def test_asked_to_stop_it_saves_and_another_start_goes_on(jobs, hosts: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "run", tmp_path / "output"
    hosts.write_text("localhost:2\n")
    saved = CheckpointFolder(folder / "checkpoints")
    with open(output, "w+b") as file:
        job = start(jobs, hosts, *train(folder)[1:], output=file)
        wait_for(saved.path(5), job)
        job.terminate()
        assert job.wait(timeout=60) == 75, output.read_text()
    assert "SIGTERM: stopping" not in output.read_text()  # which would end it after 5 seconds
    stopped = saved.steps()[-1]
    assert f"stopped: at step {stopped} of {STEPS}, which is saved" in output.read_text()
    settings = train(folder)
    settings[settings.index("--steps") + 1] = str(stopped + 10)
    with open(output, "w+b") as file:
        assert start(jobs, hosts, *settings[1:], output=file).wait(timeout=120) == 0, output.read_text()
    steps = [record["step"] for record in read_metrics(folder / "metrics.jsonl") if record["part"] == "train"]
    assert steps == list(range(1, stopped + 11))


@pytest.mark.faults
def test_asked_to_stop_it_ends_a_step_of_many_seconds(jobs, hosts: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "run", tmp_path / "output"
    hosts.write_text("localhost:2\n")
    settings = ("--model", "vgg11", "--data", "synthetic", "--global_batch_size", "2000", "--save_every", "1")
    with open(output, "w+b") as file:
        job = start(jobs, hosts, *settings, "--run_dir", str(folder), output=file)
        wait_for(CheckpointFolder(folder / "checkpoints").path(1), job)
        job.terminate()
        assert job.wait(timeout=120) == 75, output.read_text()
    assert "which is saved; resume with `" in output.read_text()
