"""Ctrl-C while a program starts ends it with 130, and without a traceback."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .installed_command import install_command
from .integration.processes import until

ROOT = Path(__file__).parents[1]
SLOW_IMPORT = """
try:
    open({fifo!r}).read()
except KeyboardInterrupt:
    raise ImportError("no wonder") from None  # as NumPy has it
"""


def interrupted(fifo: Path, *command: object, **environment: str) -> tuple[int, str]:
    """Sends Ctrl-C to a command, and to all that it has started, when it reads what never comes."""
    os.mkfifo(fifo)
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    writing: list[int] = []

    def is_read() -> bool:
        with contextlib.suppress(OSError):  # nothing reads yet
            writing.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return bool(writing)

    until(is_read, process)
    with os.fdopen(writing[0], "w"):
        for _ in range(60):  # Python does not see a signal that comes just before it begins to wait for input
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=1), process.communicate()[0]
    raise AssertionError("it does not end")


PROGRAMS = {
    "train": ("jobs/train.py", "--config"),
    "prepare": ("jobs/prepare.py", "--config"),
    "mpirun": ("-m", "cnn.launching.launcher", "mpirun", "--hostfile"),
    "horovodrun": ("-m", "cnn.launching.launcher", "horovodrun", "--hostfile"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_while_a_program_reads_what_is_wanted(tmp_path: Path, program: str) -> None:
    code, output = interrupted(tmp_path / "fifo", sys.executable, *PROGRAMS[program], tmp_path / "fifo")
    assert code == 130, output
    assert output in ("", "error: ended by SIGINT; run it again to resume.\n")


@pytest.mark.parametrize("imported", ["yaml", "tensorflow"])
def test_while_the_installed_command_imports(tmp_path: Path, imported: str) -> None:
    fifo = tmp_path / "fifo"
    (tmp_path / f"{imported}.py").write_text(SLOW_IMPORT.format(fifo=str(fifo)))
    (tmp_path / "bin").mkdir()
    command = install_command(tmp_path / "bin")
    assert interrupted(fifo, command, "train", "--data", "digits", PYTHONPATH=f"{tmp_path}:{ROOT}") == (130, "")


@pytest.mark.parametrize(
    ("imported", "program"),
    [
        ("yaml", ("jobs/train.py",)),
        ("yaml", ("jobs/predict.py",)),
        ("tensorflow", ("jobs/train.py", "--data", "digits")),
        ("yaml", ("-m", "cnn.cluster.launchers.horovodrun", "-np", "1", "true")),
    ],
)
def test_while_a_program_imports(tmp_path: Path, imported: str, program: tuple[str, ...]) -> None:
    fifo = tmp_path / "fifo"
    (tmp_path / f"{imported}.py").write_text(SLOW_IMPORT.format(fifo=str(fifo)))
    assert interrupted(fifo, sys.executable, *program, PYTHONPATH=f"{tmp_path}:{ROOT}") == (130, "")


def test_a_guest_s_ctrl_c_is_its_own() -> None:
    code = "import signal, cnn; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
