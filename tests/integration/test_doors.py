"""Every port that a job opens, by each way of starting it: on which address, and what a stranger's bytes do there."""

import base64
import concurrent.futures
import contextlib
import os
import pickle
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cnn.runs.checkpoints import CheckpointFolder

from .conftest import ROOT, Jobs
from .processes import process_of_rank, until, wait_for

HOROVODRUN = [sys.executable, "-m", "cnn.cluster.launchers.horovodrun"]
ELASTIC = [sys.executable, "-m", "cnn.launching.elastic_launcher"]


class Trap:
    """Makes a file where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._file),)


def train(folder: Path, *more: str) -> list[str]:
    size = ("--model", "lenet5", "--global_batch_size", "100", "--save_every", "5", "--epochs", "1000")
    return ["jobs/train.py", "--data", "digits", *size, *more, "--run_dir", str(folder)]


def script(folder: Path) -> Path:
    path = folder / "hosts $(touch ran).sh"
    path.write_text("#!/bin/sh\necho localhost:2\n")
    path.chmod(0o755)
    return path


def command(way: str, folder: Path, *more: str) -> list[str]:
    program = [sys.executable, *train(folder / "run", *more)]
    return {
        "python": program,
        "mpirun": ["mpirun", "--oversubscribe", "-np", "2", *program],
        "horovodrun over MPI": [*HOROVODRUN, "-np", "2", *program],
        "horovodrun over Gloo": [*HOROVODRUN, "--gloo", "-np", "2", *program],
        "elastic": [*ELASTIC, str(script(folder)), "--interface", "lo", "--", *program[2:]],
        "horovodrun, elastic": [
            *(*HOROVODRUN, "--gloo", "-np", "2", "--min-np", "1", "--network-interfaces", "lo"),
            *("--host-discovery-script", str(script(folder)), *program),
        ],
    }[way]


@contextlib.contextmanager
def job(jobs: Jobs, way: str, folder: Path, *more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """One that trains until it is ended."""
    with open(folder / "output", "w+b") as output:
        process = subprocess.Popen(
            command(way, folder, *more), cwd=ROOT, env=jobs.environment, stdout=output, stderr=subprocess.STDOUT
        )
        jobs.started.append(process)  # type: ignore[arg-type]
        wait_for(CheckpointFolder(folder / "run" / "checkpoints").path(5), process)
        yield process


def doors(process: "subprocess.Popen[bytes]") -> list[tuple[str, str, int]]:
    """The program, address and port of each listening socket of a process and of all that it started."""
    found = set()
    top = psutil.Process(process.pid)
    for each in [top, *top.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            for connection in each.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add((each.name(), connection.laddr.ip, connection.laddr.port))
    return sorted(found)


def secret_of(process: "subprocess.Popen[bytes]") -> str:
    """What ranks know and strangers do not."""
    address = psutil.Process(process_of_rank(0, Path(process.args[-1]))).environ()["HOROVOD_GLOO_RENDEZVOUS_ADDR"]
    return address.partition("/")[2]


def command_lines(process: "subprocess.Popen[bytes]") -> str:
    """Those of all that a process started, which every user of a machine can read."""
    children = psutil.Process(process.pid).children(recursive=True)
    return "\n".join(shlex.join(child.cmdline()) for child in children)


def messages(trap: bytes) -> list[bytes]:
    """The published attack, on the port as it is and on other paths; other bytes; a request that has no end."""
    body = base64.b64encode(trap)
    put = b"PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
    paths = (b"/worker_addresses/localhost:0", b"/a:1/worker_addresses/localhost:0", b"//worker_addresses/a:0")
    attacks = [put % (path, len(body), body) for path in paths]
    looks = [
        b"GET /global/0 HTTP/1.1\r\n\r\n",
        b"HEAD /pyproject.toml HTTP/1.1\r\n\r\n",
        b"DELETE /global/0 HTTP/1.1\r\n\r\n",
    ]
    digest = bytes(32) + len(trap).to_bytes(4, "little") + trap  # to Horovod's services
    return [*attacks, *looks, digest, b"", b"\0" * 100, b"GET /" + b"a" * 1_000_000, b"\r\n" * 50_000]


def send(port: int, message: bytes) -> bytes:
    """What is answered until the other side hangs up, or is silent for long."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(1000)
    return b""


def attack(process: "subprocess.Popen[bytes]", trap: Path) -> list[bytes]:
    """Sends all of it to each port, which slow strangers hold open meanwhile; gives what was answered."""
    ports = {port for _, _, port in doors(process)}
    with contextlib.ExitStack() as slow:
        for port in ports:
            for _ in range(20):
                slow.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(b"GE")
        sent = [(port, message) for port in ports for message in messages(pickle.dumps(Trap(trap)))]
        with concurrent.futures.ThreadPoolExecutor(len(sent)) as strangers:
            return [*strangers.map(send, *zip(*sent, strict=True))]


def survives(process: "subprocess.Popen[bytes]", folder: Path) -> list[bytes]:
    """Attacks a job, which trains on and ends well; gives what was answered."""
    saved, trap = CheckpointFolder(folder / "run" / "checkpoints"), folder / "trap"
    answers = attack(process, trap)
    before = saved.steps()[-1]
    until(lambda: saved.steps()[-1] > before, process)
    os.kill(process_of_rank(0, folder / "run"), signal.SIGUSR1)
    said = folder / "output"
    process.wait(timeout=60)
    assert not trap.exists()
    assert "which is saved; resume with `" in said.read_text()
    assert "Traceback" not in said.read_text()
    return answers


def test_one_process_listens_nowhere(jobs: Jobs, tmp_path: Path) -> None:
    with job(jobs, "python", tmp_path) as process:
        assert doors(process) == []


@pytest.mark.parametrize(
    "way",
    [
        "elastic",
        *(pytest.param(way, marks=pytest.mark.faults) for way in ("horovodrun, elastic", "horovodrun over Gloo")),
    ],
)
def test_over_gloo_a_stranger_is_not_answered(jobs: Jobs, tmp_path: Path, way: str) -> None:
    with job(jobs, way, tmp_path) as process:
        found = doors(process)
        assert {address for _, address, _ in found} == {"127.0.0.1"}, found
        assert len(secret_of(process)) == 32 and secret_of(process) not in command_lines(process)
        assert set(survives(process, tmp_path)) == {b""}
    assert not (ROOT / "ran").exists()


@pytest.mark.parametrize("way", ["mpirun", pytest.param("horovodrun over MPI", marks=pytest.mark.faults)])
def test_over_mpi_ranks_of_one_machine_listen_nowhere(jobs: Jobs, tmp_path: Path, way: str) -> None:
    """mpirun itself does, on all addresses, and there is no option against it: strangers must not harm it."""
    with job(jobs, way, tmp_path) as process:
        assert {name for name, _, _ in doors(process)} == {"orterun_wrapper"}
        survives(process, tmp_path)


def test_rank_0_alone_serves_numbers_and_no_stranger_disturbs_it(jobs: Jobs, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with job(jobs, "mpirun", tmp_path, "--metrics_port", str(port)) as process:
        of_ranks = [(address, number) for name, address, number in doors(process) if name != "orterun_wrapper"]
        assert of_ranks == [("127.0.0.1", port)]
        assert any(b"HTTP/1.0 200 OK" in answer for answer in survives(process, tmp_path))
