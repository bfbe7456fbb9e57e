"""The server by which ranks over Gloo find each other: what it gives to those who know the secret, and to others."""

import base64
import os
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
from horovod.runner.elastic.rendezvous import create_rendezvous_handler
from horovod.runner.http.http_client import put_data_into_kvstore

from cnn.cluster.launchers.elastic import STOP, UNCHANGED, Membership
from cnn.cluster.launchers.rendezvous import Rendezvous, address_with_secret

SECRET = "0123456789abcdef"
PLAN = get_host_assignments(parse_hosts("a:2"), 2)


class Trap:
    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._file),)


@pytest.fixture(scope="module")
def started() -> Iterator[Rendezvous]:
    """That of an elastic job of two ranks."""
    driver = SimpleNamespace(record_ready=lambda host, slot: None, get_slot_info=lambda host, slot: PLAN[slot])
    server = Rendezvous("127.0.0.1", SECRET)
    server.port = server.start(create_rendezvous_handler(driver))
    yield server
    server.stop()


@pytest.fixture
def server(started: Rendezvous) -> Rendezvous:
    """The same, where nobody has asked yet."""
    started.init(PLAN)
    return started


def ask(port: int, request: str, body: bytes = b"", secret: str = SECRET) -> tuple[str, bytes]:
    """The status and content of the answer, as Horovod's C++ code asks; nothing for a connection that was cut."""
    method, path = request.split()
    head = f"{method} /{secret}:{port}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return send(port, head.encode() + body)


def send(port: int, message: bytes) -> tuple[str, bytes]:
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(message)
            while more := connection.recv(65536):
                answer += more
    except ConnectionError:
        pass
    head, _, content = answer.partition(b"\r\n\r\n")
    return head.decode()[9:12], content


def test_ranks_find_each_other(server: Rendezvous) -> None:
    assert ask(server.port, "GET /global/1")[0] == "404"
    assert ask(server.port, "PUT /global/1", b"\x80\0address")[0] == "200"
    assert ask(server.port, "GET /global/1") == ("200", b"\x80\0address")
    assert [ask(server.port, f"DELETE /global/{rank}")[0] for rank in range(2)] == ["200", "200"]
    assert ask(server.port, "GET /global/1")[0] == "404"  # all of them have found each other
    assert ask(server.port, "GET /rank_and_size/a:1") == ("200", b"1,2,1,2,0,1")


@pytest.mark.parametrize("secret", ["", "0", SECRET[:-1] + "e", SECRET.upper(), SECRET + "0", "é"])
@pytest.mark.parametrize("request_line", ["GET /global/1", "PUT /global/0", "DELETE /global/1", "HEAD /global/1"])
def test_others_are_cut(server: Rendezvous, secret: str, request_line: str) -> None:
    ask(server.port, "PUT /global/1", b"address")
    assert ask(server.port, request_line, b"x", secret) == ("", b"")
    assert ask(server.port, "GET /global/0")[0] == "404"
    assert ask(server.port, "GET /global/1") == ("200", b"address")


@pytest.mark.parametrize("known", [False, True])
def test_what_is_sent_is_never_run(server: Rendezvous, tmp_path: Path, known: bool) -> None:
    """The published attack, of a stranger and even of one who knows the secret."""
    body = base64.b64encode(pickle.dumps(Trap(tmp_path / "trap")))
    answer = ask(server.port, "PUT /worker_addresses/a:0", body, SECRET if known else "")
    assert answer[0] == ("200" if known else "")
    assert not (tmp_path / "trap").exists()


def test_the_same_attack_by_horovods_own_client(server: Rendezvous, tmp_path: Path) -> None:
    with pytest.raises(Exception):  # noqa: B017 (whatever a connection that is cut raises there)
        put_data_into_kvstore("127.0.0.1", server.port, "worker_addresses", "a:0", Trap(tmp_path / "trap"))
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    "path", ["/", "/global", "/global/1/2", "/../../pyproject.toml", "//global/1", "/rank_and_size/a/b", ""]
)
def test_paths_that_are_none(server: Rendezvous, path: str, capfd: pytest.CaptureFixture[str]) -> None:
    message = f"GET /{SECRET}:{server.port}{path} HTTP/1.1\r\n\r\n".encode()
    assert send(server.port, message) == ("", b"")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("message", [b"\0" * 300, b"GET /" + b"a" * 1_000_000, b"\r\n" * 1000, b"GET", b"GET  \r\n"])
def test_other_bytes_are_cut_without_a_word(
    server: Rendezvous, message: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    assert send(server.port, message) == ("", b"")
    assert capfd.readouterr() == ("", "")


def test_who_says_nothing_keeps_nobody_waiting(server: Rendezvous) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    assert ask(server.port, "GET /global/1")[0] == "404"
    for each in silent:
        each.close()


def test_it_listens_on_one_address() -> None:
    server = Rendezvous("127.0.0.2", SECRET)
    port = server.start()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    socket.create_connection(("127.0.0.2", port)).close()
    server.stop()


def test_a_rank_hears_of_changes_until_it_is_given_its_place_anew(
    server: Rendezvous, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOROVOD_GLOO_RENDEZVOUS_ADDR", address_with_secret("127.0.0.1", server.port, SECRET))
    monkeypatch.setenv("HOROVOD_GLOO_RENDEZVOUS_PORT", str(server.port))
    membership = Membership()
    heard, stops = [], set()
    for step in (lambda: None, lambda: server.notify_hosts_updated(0, None), lambda: server.init(PLAN)):
        step()
        membership.refresh()
        heard.append(membership.changed())
        stops.add(membership.stop_requested())
    assert heard == [False, True, False]
    assert stops == {False}


def test_a_rank_hears_that_it_is_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Rendezvous("127.0.0.1", SECRET)
    port = server.start()
    monkeypatch.setenv("HOROVOD_GLOO_RENDEZVOUS_ADDR", address_with_secret("127.0.0.1", port, SECRET))
    monkeypatch.setenv("HOROVOD_GLOO_RENDEZVOUS_PORT", str(port))
    server.stop_ranks()
    membership = Membership()
    membership.refresh()
    assert membership.stop_requested() and not membership.changed()
    server.stop()


def test_a_launcher_that_is_to_end_waits_until_no_rank_asks_any_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Rendezvous("127.0.0.1", SECRET)
    port = server.start()
    monkeypatch.setattr("cnn.cluster.launchers.rendezvous._SILENT_SECONDS", 1.0)
    assert ask(port, "GET /changes/any") == ("200", UNCHANGED)
    begin = time.monotonic()
    waiting = threading.Thread(target=server.stop_ranks)
    waiting.start()
    heard = set()
    for _ in range(20):  # a rank that still saves
        heard.add(ask(port, "GET /changes/any")[1])
        assert waiting.is_alive()
    server.init(PLAN)  # as if a worker had been replaced meanwhile
    server.notify_hosts_updated(0, None)
    heard_last = ask(port, "GET /changes/any")[1]
    waiting.join(timeout=60)
    assert not waiting.is_alive() and time.monotonic() - begin >= 1.0
    assert STOP in heard and heard_last == STOP
    server.stop()


def test_a_launcher_whose_ranks_have_not_begun_waits_for_none() -> None:
    server = Rendezvous("127.0.0.1", SECRET)
    server.start()
    server.stop_ranks()
    server.stop()


def test_without_the_launcher_a_rank_hears_nothing(server: Rendezvous, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOROVOD_GLOO_RENDEZVOUS_ADDR", address_with_secret("127.0.0.2", server.port, SECRET))
    monkeypatch.setenv("HOROVOD_GLOO_RENDEZVOUS_PORT", str(server.port))
    membership = Membership()
    membership.refresh()
    assert not membership.changed()
