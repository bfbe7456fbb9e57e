"""Whether a run serves its numbers, and what happens if it cannot."""

import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnn.cluster.launchers.process import ALONE
from cnn.cluster.ranks.collectives import Cluster
from cnn.cluster.ranks.job import Job
from cnn.errors import UserError
from cnn.runs.serving import serving
from cnn.runs.start import Carried
from cnn.settings.settings import TrainingSettings, parse_settings


def settings(*arguments: object) -> TrainingSettings:
    return parse_settings("", TrainingSettings, [str(argument) for argument in arguments])


@pytest.fixture
def taken() -> Iterator[int]:
    """A port in use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_without_a_port_there_are_no_numbers(cluster: Cluster) -> None:
    with serving(cluster, settings(), Job(ALONE)) as receivers:
        assert not receivers


def test_the_port_is_open_as_long_as_the_context(cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(cluster, settings("--metrics_port", port, "--model", "vgg16"), Job(ALONE)) as receivers:
        assert len(receivers) == 1
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=30) as answer:
            assert 'model="vgg16"' in answer.read().decode()
    socket.create_server(("127.0.0.1", port)).close()


def test_a_port_in_use_ends_a_run_that_begins_and_none_that_has_trained(
    cluster: Cluster, taken: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = pytest.raises(UserError, match=f"--metrics_port {taken} is in use")
    with refused, serving(cluster, settings("--metrics_port", taken), Job(ALONE)):
        raise AssertionError
    job = Job(ALONE)
    job.carried = Carried(folder=tmp_path)
    with serving(cluster, settings("--metrics_port", taken), job) as (numbers,):
        numbers.learning_rate(0.1)
    warning = capfd.readouterr().err
    assert warning.startswith(f"warning: --metrics_port {taken} is in use") and "Training continues" in warning


def test_a_mistake_in_the_trainer_s_variables_is_a_warning(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", "http://trainer:10443/status")
    with serving(cluster, settings(), Job(ALONE)) as receivers:
        assert not receivers
    warning = capfd.readouterr().err
    assert "but not KUBEFLOW_TRAINER_SERVER_CA_CERT and KUBEFLOW_TRAINER_SERVER_TOKEN: set all or none" in warning
    assert "Training continues" in warning
