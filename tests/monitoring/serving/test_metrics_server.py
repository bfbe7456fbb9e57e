"""The server of a run's numbers: what Prometheus reads there, and what users are told when it cannot be opened."""

import contextlib
import math
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cnn.errors import UserError
from cnn.monitoring.serving.metrics_server import MetricsServer, MetricsSettings
from cnn.monitoring.serving.served_numbers import ServedNumbers

ROOT = Path(__file__).parents[3]


def free_port(address: str = "127.0.0.1") -> int:
    with socket.create_server((address, 0)) as server:
        return int(server.getsockname()[1])


def numbers() -> ServedNumbers:
    run = {"model": "lenet5", "data": "digits", "optimizer": "adam"}
    return ServedNumbers({"cnn": "0.1.0", "tensorflow-cpu": "2.21.0"}, run, workers=3)


@contextlib.contextmanager
def served(of: ServedNumbers, address: str = "127.0.0.1") -> Iterator[int]:
    """The port."""
    port = free_port()
    server = MetricsServer(MetricsSettings(metrics_port=port, metrics_address=address), of.registry)
    try:
        yield port
    finally:
        server.close()


def ask(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return str(answer.read().decode())


def read(port: int) -> dict[str, float]:
    """Each sample by its name and labels."""
    samples = {}
    for family in text_string_to_metric_families(ask(port)):
        assert family.documentation
        for name, labels, value, *_ in family.samples:
            samples[name + "".join(f" {key}={labels[key]}" for key in sorted(labels))] = value
    return samples


def test_numbers_have_their_names_and_are_those_of_the_moment() -> None:
    run = numbers()
    with served(run) as port:
        before = read(port)
        assert before["cnn_build_info tensorflow_cpu=2.21.0 version=0.1.0"] == 1
        assert before["cnn_run_info data=digits model=lenet5 optimizer=adam"] == 1
        assert before["cnn_workers"] == 3
        assert math.isnan(before["cnn_step"]) and math.isnan(before["cnn_last_step_timestamp_seconds"])
        assert (before["cnn_steps_total"], before["cnn_samples_total"]) == (0, 0)
        run.begin("runs/a", step=40, last_step=200, steps_per_epoch=20)
        run.progress(50, taken=10, samples=1280, samples_per_second=None)
        assert math.isnan(read(port)["cnn_step_seconds"])
        run.progress(70, taken=20, samples=2560, samples_per_second=6400.0)
        run.learning_rate(0.003)
        run.means("train", {"loss": 0.5, "accuracy": 0.75})
        run.means("validation", {"loss": math.inf, "accuracy": 0.7, "top5_accuracy": 1.0})
        found = read(port)
        assert found["cnn_run_info data=digits folder=runs/a model=lenet5 optimizer=adam"] == 1
        assert found["cnn_last_step_timestamp_seconds"] > 1.7e9
        assert found["process_resident_memory_bytes"] > 1e6
        expected = {
            "cnn_steps_total": 30,
            "cnn_samples_total": 3840,
            "cnn_step": 70,
            "cnn_last_step": 200,
            "cnn_epoch": 3.5,
            "cnn_learning_rate": 0.003,
            "cnn_step_seconds": 0.02,
            "cnn_loss part=train": 0.5,
            "cnn_accuracy part=train": 0.75,
            "cnn_loss part=validation": math.inf,
            "cnn_accuracy part=validation": 0.7,
            "cnn_top5_accuracy part=validation": 1,
        }
        assert {name: found[name] for name in expected} == pytest.approx(expected)
        assert not [name for name in found if name.endswith("_created")]


def test_the_server_listens_on_the_address_alone_and_no_longer_once_it_is_closed() -> None:
    with served(numbers()) as port:
        with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=10):
            pass
        assert "cnn_workers 3.0" in ask(port)
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=10):
        pass


def test_a_port_can_be_opened_again_at_once() -> None:
    """As by the rank that is rank 0 after a change of workers, while connections to the earlier one still close."""
    run, port = numbers(), free_port()
    for _ in range(3):
        server = MetricsServer(MetricsSettings(metrics_port=port), run.registry)
        ask(port)
        server.close()


def test_strangers_are_cut_off_and_say_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with served(numbers()) as port, contextlib.ExitStack() as slow:
        for _ in range(100):  # of which most are not answered
            slow.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(b"GE")
        slow.close()
        for message in (b"", b"\0" * 100, b"GET /" + b"a" * 1_000_000, b"PUT / HTTP/1.1\r\n\r\n", b"\r\n" * 50_000):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(message)
        while True:  # until those that were slow have been given up
            with contextlib.suppress(OSError):
                assert "cnn_workers 3.0" in ask(port)
                break
    assert capfd.readouterr() == ("", "")


def refusal(**settings: object) -> str:
    with pytest.raises(UserError) as caught:
        MetricsServer(MetricsSettings(**settings), numbers().registry)  # type: ignore[arg-type]
    return str(caught.value)


def test_what_cannot_be_opened_is_told_with_what_to_do() -> None:
    host = socket.gethostname()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert refusal(metrics_port=port) == (
            f"--metrics_port {port} is in use on {host}: end the program that uses it, or give another port."
        )
    for address in ("192.0.2.1", "no.such.name.invalid", "a" * 70, "::2"):  # the first is reserved for documentation
        assert refusal(metrics_port=port, metrics_address=address) == (
            f"--metrics_address {address!r} is not an address of {host}: give 127.0.0.1, or 0.0.0.0 for all of its "
            "addresses."
        )
    for number in (-1, 0, 65536):
        assert f"--metrics_port {number} is not a port" in refusal(metrics_port=number)


def test_a_port_for_root_alone_is_told() -> None:
    code = (
        "import os; from prometheus_client import CollectorRegistry, MetricsHandler\n"
        "from cnn.errors import UserError\n"
        "from cnn.monitoring.serving.metrics_server import MetricsServer, MetricsSettings\n"
        "import encodings.idna\n"
        "os.getuid() or os.setuid(65534)\n"
        "try: MetricsServer(MetricsSettings(metrics_port=80), CollectorRegistry())\n"
        "except UserError as error: print(error)"
    )
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("on this machine, every user may open port 80")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--metrics_port 80 is reserved for root on" in done.stdout
