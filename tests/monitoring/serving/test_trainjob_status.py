"""The status of a TrainJob: what is posted, and that no fault of the server ends training."""

import contextlib
import dataclasses
import datetime
import queue
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cnn.errors import UserError
from cnn.monitoring.serving.trainjob_status import StatusServer, TrainJobStatus, status_server

from ...https_server import make_certificate
from ..status_server import PATH, SECONDS, TOKEN, TrainerServer

OFTEN = 0.01
"""Seconds between posts."""


@pytest.fixture
def trainer(certificate: tuple[Path, Path]) -> Iterator[TrainerServer]:
    with contextlib.closing(TrainerServer(*certificate)) as server:
        yield server


@pytest.fixture
def environ(trainer: TrainerServer, certificate: tuple[Path, Path], tmp_path: Path) -> dict[str, str]:
    """The variables that the Trainer sets."""
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    return {
        "KUBEFLOW_TRAINER_SERVER_URL": f"https://127.0.0.1:{trainer.port}{PATH}",
        "KUBEFLOW_TRAINER_SERVER_CA_CERT": str(certificate[0]),
        "KUBEFLOW_TRAINER_SERVER_TOKEN": str(token),
    }


@pytest.fixture
def server(environ: dict[str, str]) -> StatusServer:
    found = status_server(environ)
    assert found is not None
    return found


@contextlib.contextmanager
def posting(
    server: StatusServer,
    warnings: "queue.Queue[str] | None" = None,
    clock: Callable[[], float] = time.monotonic,
    interval: float = OFTEN,
) -> Iterator[TrainJobStatus]:
    """The status of a run that has done 100 of 400 steps, four of which are an epoch."""
    status = TrainJobStatus(server, (queue.Queue() if warnings is None else warnings).put, interval, clock)
    status.begin("/runs/train", 100, 400, 4)
    with contextlib.closing(status):
        yield status


def test_a_status_says_how_far_the_run_is(trainer: TrainerServer, server: StatusServer) -> None:
    with posting(server):
        post = trainer.next()
    assert post.authorization == f"Bearer {TOKEN}"
    assert post.status["progressPercentage"] == 25
    assert "estimatedRemainingSeconds" not in post.status
    assert post.metrics == {"step": "100", "epoch": "25"}
    assert datetime.datetime.fromisoformat(post.status["lastUpdatedTime"]).tzinfo is not None


def test_the_last_status_has_what_came_last(trainer: TrainerServer, server: StatusServer) -> None:
    with posting(server, interval=3600.0) as status:
        trainer.next()
        status.progress(101, 1, 64, None)
        status.progress(400, 299, 299 * 64, 1234.5678)
        status.learning_rate(0.001)
        status.limit("input")
        status.times({}, {"training": 30.0}, 0.75)
        status.means("test", {"loss": 0.123456789, "accuracy": 0.5})
    last = trainer.next()
    assert trainer.posts.empty()
    assert last.status["progressPercentage"] == 100
    assert last.status["estimatedRemainingSeconds"] == 0
    assert last.metrics["images_per_second"] == "1234.57"
    assert last.metrics["learning_rate"] == "0.001"
    assert (last.metrics["limited_by"], last.metrics["goodput"]) == ("input", "0.75")
    assert (last.metrics["test_loss"], last.metrics["test_accuracy"]) == ("0.123457", "0.5")
    assert all(len(each["value"]) <= 64 for each in last.status["metrics"])


def test_the_remaining_time_follows_from_the_steps_after_the_first_call(
    trainer: TrainerServer, server: StatusServer
) -> None:
    times = iter([1060.0, 1070.0])
    with posting(server, clock=lambda: next(times)) as status:
        status.progress(110, 10, 640, None)  # compilation
        status.progress(130, 20, 1280, 128.0)
    posts = [trainer.next()]
    while not trainer.posts.empty():
        posts.append(trainer.next())
    assert posts[-1].status["estimatedRemainingSeconds"] == 135  # 270 steps, of which 20 took 10 s


def test_nothing_is_posted_of_a_run_that_has_not_begun(trainer: TrainerServer, server: StatusServer) -> None:
    TrainJobStatus(server, print, OFTEN).close()
    assert trainer.posts.empty()


def test_a_new_token_is_used(trainer: TrainerServer, server: StatusServer) -> None:
    with posting(server) as status:
        trainer.next()
        server.token.write_text("new")
        trainer.token = "new"
        status.progress(200, 100, 6400, 10.0)
        while trainer.next().status["progressPercentage"] != 50:
            pass


def test_an_expired_token_is_one_warning_and_later_statuses_are_posted(
    trainer: TrainerServer, server: StatusServer
) -> None:
    warnings: queue.Queue[str] = queue.Queue()
    trainer.token = "renewed"
    with posting(server, warnings) as status:
        for step in (101, 102, 103):
            assert trainer.refusals.get(timeout=SECONDS) == 403
            status.progress(step, 1, 64, None)
        trainer.token = TOKEN
        status.progress(104, 1, 64, None)
        assert trainer.next().status["progressPercentage"] >= 25
    sentence = warnings.get(timeout=SECONDS)
    assert f"refuses the token in {server.token}, which may have expired. Training continues." in sentence
    assert warnings.empty()


@pytest.mark.parametrize("fault", ["path", "certificate", "port", "token", "name"])
def test_what_is_wrong_with_the_server_is_named(
    trainer: TrainerServer, server: StatusServer, tmp_path: Path, fault: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        free = closed.getsockname()[1]
    other = tmp_path / "other"
    other.mkdir()
    changed, reason = {
        "path": ({"path": "/elsewhere"}, "answers 404 (Not found)"),
        "certificate": ({"ca_certificate": make_certificate(other)[0]}, "CERTIFICATE_VERIFY_FAILED"),
        "port": ({"port": free}, "Connection refused"),
        "token": ({"token": tmp_path / "none"}, "No such file or directory"),
        "name": ({"host": "localhost"}, "CERTIFICATE_VERIFY_FAILED"),
    }[fault]
    assert reason in dataclasses.replace(server, **changed).post({})
    assert trainer.posts.empty()


def test_a_server_that_never_answers_is_not_awaited(server: StatusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn.monitoring.serving.trainjob_status._TIMEOUT_SECONDS", 0.1)
    warnings: queue.Queue[str] = queue.Queue()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        status = TrainJobStatus(dataclasses.replace(server, port=silent.getsockname()[1]), warnings.put, OFTEN)
        status.begin("/runs/train", 0, 400, 4)
        assert "timed out" in warnings.get(timeout=SECONDS)
        status.close()


def test_without_the_variables_there_is_no_server() -> None:
    assert status_server({"KUBEFLOW_TRAINER_SERVER_URL": ""}) is None


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"KUBEFLOW_TRAINER_SERVER_TOKEN": ""}, "but not KUBEFLOW_TRAINER_SERVER_TOKEN: set all or none of them."),
        ({"KUBEFLOW_TRAINER_SERVER_URL": "http://trainer/status"}, "is http://trainer/status: it must be an address"),
        ({"KUBEFLOW_TRAINER_SERVER_URL": "https://trainer:port/"}, "is https://trainer:port/: it must be an address"),
        ({"KUBEFLOW_TRAINER_SERVER_URL": "https:///status"}, "is https:///status: it must be an address"),
    ],
)
def test_a_mistake_in_the_variables_is_named(environ: dict[str, str], changed: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError) as error:
        status_server(environ | changed)
    assert sentence in str(error.value)
