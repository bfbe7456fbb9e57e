"""What a run does for those who watch over pods: lines as JSON, the status of its TrainJob, and signs of life."""

import contextlib
import json
import re
import socket
from pathlib import Path

import pytest

from cnn.monitoring.timing.goodput import ACTIVITIES

from ..https_server import make_certificate
from ..monitoring.status_server import PATH, TOKEN, Post, TrainerServer
from .conftest import Jobs

RUN = ("jobs/train.py", "--model", "fcnn", "--data", "digits", "--global_batch_size", 100, "--epochs", 2)


@pytest.fixture(scope="module")
def watched(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[Post]]:
    """A run of two workers: its folder, with `beats` beside it, what it printed, and what it posted."""
    folder = tmp_path_factory.mktemp("pods")
    certificate, key = make_certificate(folder)
    (folder / "token").write_text(TOKEN)
    with contextlib.closing(TrainerServer(certificate, key)) as trainer, Jobs(cache) as jobs:
        code, output = jobs.run(
            *RUN, "--run_dir", folder / "run", launcher="mpirun", workers=2,
            CNN_LOG_FORMAT="json",
            CNN_HEARTBEAT_DIR=str(folder / "beats"),
            CNN_EXPECTED_HOSTS="1",
            CNN_EXPECTED_WORKERS_PER_HOST="2",
            KUBEFLOW_TRAINER_SERVER_URL=f"https://127.0.0.1:{trainer.port}{PATH}",
            KUBEFLOW_TRAINER_SERVER_CA_CERT=str(certificate),
            KUBEFLOW_TRAINER_SERVER_TOKEN=str(folder / "token"),
        )  # fmt: skip
        assert code == 0, output
        posts = [trainer.next()]
        while not trainer.posts.empty():
            posts.append(trainer.next())
    return folder / "run", output, posts


def test_the_status_ends_with_the_test_result(watched: tuple[Path, str, list[Post]]) -> None:
    folder, _, posts = watched
    last, summary = posts[-1], json.loads((folder / "summary.json").read_bytes())
    assert last.status["progressPercentage"] == 100
    assert float(last.metrics["test_accuracy"]) == pytest.approx(summary["test_accuracy"], rel=1e-5)
    assert last.metrics["step"] == str(summary["steps"])
    assert not (folder / "failure.log").exists()


def test_every_line_is_an_object_of_rank_0(watched: tuple[Path, str, list[Post]]) -> None:
    lines = [json.loads(line) for line in watched[1].splitlines()]
    assert {(line["rank"], line["host"]) for line in lines} == {(0, socket.gethostname())}
    assert [line["level"] for line in lines if re.match(r"epoch 2/2  loss ", line["message"])] == ["info"], lines


def test_each_rank_says_what_it_does(watched: tuple[Path, str, list[Post]]) -> None:
    beats = {path.name: path.read_text().split() for path in (watched[0].parent / "beats").iterdir()}
    assert beats.keys() == {"rank-0", "rank-1"}
    processes = [int(process) for process, _, _ in beats.values()]
    assert len(set(processes)) == 2
    assert {activity for _, _, activity in beats.values()} <= ACTIVITIES.keys()
