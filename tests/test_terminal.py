"""Whether there is a terminal, and how wide it is, seen from a program and from the ranks that it starts."""

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from cnn.terminal import columns, has_terminal, pass_terminal_on


@pytest.fixture(autouse=True)
def no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    """One of 60 columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    with os.fdopen(master), os.fdopen(slave, "w") as stream:
        yield stream


def test_the_terminal_is_found_and_the_environment_overrules_it(terminal: TextIO) -> None:
    assert has_terminal(terminal, {})
    assert not has_terminal(terminal, {"CNN_PROGRESS": "lines"})
    assert not has_terminal(terminal, {"TERM": "dumb"})
    assert not has_terminal(io.StringIO(), {})
    assert has_terminal(io.StringIO(), {"CNN_PROGRESS": "bar"})
    assert not has_terminal(io.StringIO(), {"CNN_PROGRESS": "bar", "CNN_LOG_FORMAT": "json"})


def test_the_width_is_the_terminal_s_unless_it_is_given(terminal: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    assert columns(terminal) == 60
    assert columns(io.StringIO()) == 80
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, bytes(8))  # a pseudo-terminal without a size, as mpirun's
    assert columns(terminal) == 80
    monkeypatch.setenv("COLUMNS", "50")
    assert columns(terminal) == 50


def test_ranks_are_told_of_the_terminal_less_the_prefix_of_their_lines(
    terminal: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    told: dict[str, str] = {}
    pass_terminal_on(told, 14)
    assert told == {"CNN_PROGRESS": "bar", "COLUMNS": "46"}
    lines = {"CNN_PROGRESS": "lines"}
    pass_terminal_on(lines)
    assert lines == {"CNN_PROGRESS": "lines"}


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_bars_do_not_get_into_a_file(name: str, terminal: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, io.StringIO() if stream == name else terminal)
    told: dict[str, str] = {}
    pass_terminal_on(told)
    assert told == {}


RANK = """
import os, sys
from cnn.cluster.launchers.mpirun_process import look_for_terminal
from cnn.cluster.launchers.process import Launch
look_for_terminal(Launch(controller="mpi", rank=0, world_size=2, local_rank=0, local_size=2, bound=False), os.environ)
open(sys.argv[1], "w").write(f"{os.environ['CNN_PROGRESS']} {os.environ.get('COLUMNS')}")
"""


@pytest.mark.parametrize(
    ("options", "to_terminal", "expected"),
    [([], True, "bar 60"), (["--tag-output"], True, "bar 46"), ([], False, "lines None")],
)
def test_a_rank_of_plain_mpirun_looks_up_its_terminal(
    options: list[str], to_terminal: bool, expected: str, terminal: TextIO, tmp_path: Path
) -> None:
    mpirun, said = Path(sys.executable).with_name("mpirun"), tmp_path / "said"
    command = [mpirun, "--allow-run-as-root", *options, "-np", "1", sys.executable, "-c", RANK, said]
    done = subprocess.run(command, stdout=terminal if to_terminal else subprocess.DEVNULL, stderr=terminal, check=False)
    assert (done.returncode, said.read_text()) == (0, expected)
