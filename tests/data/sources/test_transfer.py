"""Talks to a server of its own on this machine, and to nothing else."""

import gzip
import hashlib
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from cnn.data.sources.transfer import TransferError, transfer

from ..conftest import FileServer, read_terminal

CONTENT = np.random.default_rng(1).bytes(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def file(published: Path) -> Path:
    (published / "file.bin").write_bytes(CONTENT)
    return published / "file.bin"


def _transfer(server: FileServer, target: Path, md5: str = MD5) -> bytes:
    """What is in the file that has come; nothing may be beside it."""
    transfer(f"{server.url}file.bin", md5, target / "file.bin")
    assert [path.name for path in target.iterdir()] == ["file.bin"]
    return (target / "file.bin").read_bytes()


def _complaint(server: FileServer, target: Path, md5: str = MD5) -> str:
    with pytest.raises(TransferError) as caught:
        transfer(f"{server.url}file.bin", md5, target / "file.bin")
    assert not (target / "file.bin").exists()
    return str(caught.value)


def _leave(target: Path, content: bytes) -> None:
    """As an interrupted try does."""
    (target / "file.bin.part").write_bytes(content)


def test_a_whole_file(server: FileServer, target: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _transfer(server, target) == CONTENT
    assert server.asked == ["/file.bin"]
    assert capfd.readouterr() == ("", "")


def test_what_is_interrupted_is_gone_on_with(
    server: FileServer, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.breaks_off_at = 20 << 16
    assert _complaint(server, target) == (
        "no connection to 127.0.0.1, or it was lost; the next start resumes after 1.3 MB"
    )
    assert (target / "file.bin.part").read_bytes() == CONTENT[: 20 << 16]
    server.breaks_off_at = 40 << 16
    assert "resumes after 2.6 MB" in _complaint(server, target)
    server.breaks_off_at = None
    assert _transfer(server, target) == CONTENT
    assert server.asked == ["/file.bin", f"/file.bin bytes={20 << 16}-", f"/file.bin bytes={40 << 16}-"]
    assert capsys.readouterr().err == (
        "downloading file.bin: resuming after 1.3 of 3.0 MB\ndownloading file.bin: resuming after 2.6 of 3.0 MB\n"
    )


def test_a_server_that_knows_no_ranges_sends_all_of_it(server: FileServer, target: Path) -> None:
    server.knows_ranges = False
    _leave(target, CONTENT[:1_200_000])
    assert _transfer(server, target) == CONTENT
    assert server.asked == ["/file.bin bytes=1200000-"]


@pytest.mark.parametrize("length", [1000, 3_000_000, 3_000_001])
def test_what_turns_out_to_be_something_else_is_fetched_anew(server: FileServer, target: Path, length: int) -> None:
    _leave(target, bytes(length))
    assert _transfer(server, target) == CONTENT
    assert server.asked == [f"/file.bin bytes={length}-", "/file.bin"]


def test_what_is_wrong_from_the_start_on_is_not_kept(server: FileServer, target: Path) -> None:
    for asked in (1, 3):
        reason = _complaint(server, target, hashlib.md5(b"another").hexdigest())
        assert reason == "the file from 127.0.0.1 has a wrong checksum and was removed"
        assert list(target.iterdir()) == []
        assert len(server.asked) == asked
        _leave(target, CONTENT[:1000])


def test_what_is_whole_is_not_sent_again(server: FileServer, target: Path) -> None:
    _leave(target, CONTENT)
    server.breaks_off_at = 0
    assert _transfer(server, target) == CONTENT


def test_a_file_that_the_server_calls_compressed_stays_as_it_is(server: FileServer, target: Path, file: Path) -> None:
    content = gzip.compress(bytes(1000))
    file.write_bytes(content)
    server.headers["Content-Encoding"] = "gzip"
    assert _transfer(server, target, hashlib.md5(content).hexdigest()) == content


def test_a_length_that_is_not_told(server: FileServer, target: Path) -> None:
    server.tells_length = False
    assert _transfer(server, target) == CONTENT


def test_an_answer_that_is_none_keeps_what_is_there(server: FileServer, target: Path, file: Path) -> None:
    file.unlink()
    _leave(target, CONTENT[:1_200_000])
    assert _complaint(server, target) == (
        "127.0.0.1 answered 404 Client Error: File not found; the next start resumes after 1.2 MB"
    )


def test_a_folder_that_cannot_be_written(server: FileServer, target: Path) -> None:
    (target / "file.bin.part").mkdir()
    assert _complaint(server, target) == "the folder cannot be written: Is a directory"


_PROGRAM = """
import resource, sys
from pathlib import Path
from cnn.data.sources.transfer import transfer

limit = int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
transfer(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
"""


def _run(server: FileServer, target: Path, stderr: IO[bytes], largest_file: int = 10_000_000) -> int:
    """Gets the file in a process of its own; returns its exit code."""
    arguments = [f"{server.url}file.bin", MD5, str(target / "file.bin"), str(largest_file)]
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], stderr=stderr, cwd=Path(__file__).parents[3], check=False
    ).returncode


def test_a_full_disk_keeps_what_has_come(server: FileServer, target: Path, tmp_path: Path) -> None:
    with open(tmp_path / "stderr", "w+b") as stderr:
        assert _run(server, target, stderr, 2_000_000) == 1
    assert (tmp_path / "stderr").read_text().splitlines()[-1] == (
        "cnn.data.sources.transfer.TransferError: the folder cannot be written: File too large; "
        "the next start resumes after 2.0 MB"
    )
    assert _transfer(server, target) == CONTENT
    assert server.asked == ["/file.bin", "/file.bin bytes=2000000-"]


def test_a_bar_on_a_terminal(server: FileServer, target: Path) -> None:
    _leave(target, CONTENT[:1_200_000])
    master, slave = pty.openpty()
    with os.fdopen(slave, "wb") as stderr:
        assert _run(server, target, stderr) == 0
    last = read_terminal(master).strip().split("\r")[-1]
    assert last.startswith("100 % |")
    assert "downloading file.bin: 3.0 of 3.0 MB" in last
    assert last.endswith("MB a second")
    assert (target / "file.bin").read_bytes() == CONTENT
