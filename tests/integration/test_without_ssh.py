"""Ranks on one host start where there is no ssh; for other hosts, its absence is told."""

import os
from pathlib import Path

import pytest

from .conftest import BIN, Jobs

RANK = "import os\nprint('rank', os.environ['OMPI_COMM_WORLD_RANK'], 'started')\n"
UNREACHABLE = "192.0.2.1"  # of a block for documentation


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with this environment's programs and the system's, except those that reach other hosts."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in (Path("/bin"), Path("/usr/bin")):
        for program in folder.iterdir():
            if program.name not in ("ssh", "rsh") and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    return f"{BIN}{os.pathsep}{programs}"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    program = tmp_path / "rank.py"
    program.write_text(RANK)
    return program


LAUNCHER = ("-m", "cnn.launching.launcher", "mpirun")


@pytest.mark.parametrize(
    "launcher",
    [("mpirun", "--oversubscribe", "-np", "2"), ("horovodrun", "--mpi", "-np", "2")],
    ids=lambda each: each[0],
)
def test_launchers_called_directly(jobs: Jobs, path: str, program: Path, launcher: tuple[str, ...]) -> None:
    code, output = jobs.run(program, within=launcher, PATH=path)
    assert code == 0, output
    assert "rank 0 started" in output and "rank 1 started" in output


@pytest.mark.parametrize("hosts", [("-np", "2"), ("-H", "localhost:2")], ids=" ".join)
def test_the_projects_launcher(jobs: Jobs, path: str, program: Path, hosts: tuple[str, ...]) -> None:
    options = (*hosts, "--oversubscribe", "--program", program)
    code, output = jobs.run(*LAUNCHER, *options, PATH=path)
    assert code == 0, output
    assert "rank 0 started" in output and "rank 1 started" in output


def test_other_hosts_need_it(jobs: Jobs, path: str, program: Path) -> None:
    hosts = ("-H", f"localhost:1,{UNREACHABLE}:1")
    code, output = jobs.run(*LAUNCHER, *hosts, "--oversubscribe", "--program", program, PATH=path)
    assert code == 1, output
    assert "error: ssh cannot be started (No such file or directory): install it" in output
    code, output = jobs.run(program, within=("mpirun", *hosts, "-np", "2"), PATH=path)
    assert code == 1, output
    assert "error: neither ssh nor rsh is on PATH: install one, as it starts the ranks on other hosts" in output
