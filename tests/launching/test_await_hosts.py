"""Waiting for hosts, with a stand-in for ssh on PATH that does what a file says."""

import threading
import time
from pathlib import Path

import pytest

from cnn.errors import RunError
from cnn.launching.await_hosts import await_hosts


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with what the next ssh does."""
    program, answer = tmp_path / "ssh", tmp_path / "answer"
    program.write_text(f"#!/bin/sh\n. {answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("cnn.launching.await_hosts._POLL_SECONDS", 0.05)
    return answer


def test_all_are_there(ssh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ssh.write_text("exit 0")
    await_hosts(["192.0.2.1", "192.0.2.2"], 0)
    assert capsys.readouterr().out == "2 of 2 hosts are reachable\n"


def test_this_machine_needs_no_ssh_once_its_name_is_known(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS may know a pod's name only seconds after the pod has started."""
    known = threading.Event()
    found = [(2, 1, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found if known.is_set() else [])
    ssh.write_text("exit 255")
    waiting = threading.Thread(target=await_hosts, args=(["launcher.pods"], 60))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    known.set()
    waiting.join(30)
    assert not waiting.is_alive()


def test_one_that_comes_later_is_awaited(ssh: Path) -> None:
    ssh.write_text("echo Connection refused >&2; exit 255")
    waiting = threading.Thread(target=await_hosts, args=(["192.0.2.1"], 60))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    ssh.write_text("exit 0")
    waiting.join(30)
    assert not waiting.is_alive()


@pytest.mark.parametrize(
    ("name", "answer", "reason"),
    [
        ("a..b", "exit 0", "its name is unknown"),
        ("192.0.2.1", "echo ssh: connect: Connection refused >&2; exit 255", "ssh: connect: Connection refused"),
        ("192.0.2.1", "exit 7", "ssh ended with exit code 7"),
    ],
)
def test_one_that_never_comes_is_named(ssh: Path, name: str, answer: str, reason: str) -> None:
    ssh.write_text(answer)
    with pytest.raises(RunError) as raised:
        await_hosts([name], 0.1)
    assert str(raised.value).startswith(f"the host {name} is unreachable after 0 s ({reason})")


def test_a_refused_key_is_not_awaited_for_long(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh.write_text("echo 'mpiuser@a: Permission denied (publickey).' >&2; exit 255")
    monkeypatch.setattr("cnn.launching.await_hosts._MAX_REFUSED_SECONDS", 0.2)
    begin = time.monotonic()
    with pytest.raises(RunError, match="Permission denied"):
        await_hosts(["192.0.2.1"], 600)
    assert time.monotonic() - begin < 60
