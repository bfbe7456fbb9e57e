"""launch/tensorboard.sh: what users get wrong, and that it serves."""

import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from ..tensorboard_server import read_address

ROOT = Path(__file__).parents[3]


def command(*arguments: object) -> list[str]:
    return ["bash", str(ROOT / "launch" / "tensorboard.sh"), *map(str, arguments)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--port", "many"), "--port many is not a port: choose a number from 1 to 65535."),
        (("--port", 0), "--port 0 is not a port"),
        (("--port", 70000), "--port 70000 is not a port"),
        (("--port",), "--port needs a value."),
        (("--logdir", "no/such"), "the folder no/such does not exist: train something first"),
    ],
)
def test_mistakes_get_one_sentence(arguments: tuple[object, ...], said: str) -> None:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"error: {said}")


def test_a_port_in_use_is_told_and_a_free_one_serves(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        used = command("--logdir", tmp_path, "--port", port)
        done = subprocess.run(used, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.startswith(f"error: port {port} is in use, perhaps by another TensorBoard")
    process = subprocess.Popen(used, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        address = read_address(process, rf"http://localhost:{port}/")
        assert urllib.request.urlopen(address, timeout=60).status == 200
    finally:
        process.terminate()
        process.communicate(timeout=60)
