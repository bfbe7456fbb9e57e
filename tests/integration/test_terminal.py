"""What a user at a terminal of 60 columns sees of a run, by each way of starting it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from .conftest import LAUNCHERS, ROOT, Jobs

WAYS = {
    **{name: [*launcher(2 if name != "none" else 1), sys.executable] for name, launcher in LAUNCHERS.items()},
    "launch/mpirun.sh": ["bash", "launch/mpirun.sh", "-np", "2", "--"],
}


def command(way: str, folder: Path, *options: str) -> list[str]:
    program = [] if WAYS[way][-1] == "--" else ["jobs/train.py"]
    size = ("--model", "lenet5-like", "--data", "digits", "--global_batch_size", "100", "--epochs", "3")
    return [*WAYS[way], *program, *size, "--run_dir", str(folder), *options]


def shown_at_a_terminal(jobs: Jobs, words: list[str], columns: int) -> str:
    """Runs it at a terminal; gives all that is written there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        words, cwd=ROOT, env={**jobs.environment, "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave
    )
    jobs.started.append(process)  # type: ignore[arg-type]
    os.close(slave)
    written = b""
    try:
        while piece := os.read(master, 65536):
            written += piece
    except OSError:  # EIO: all who had it open have ended
        pass
    os.close(master)
    assert process.wait() == 0, written.decode()
    return written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("way", WAYS)
def test_a_bar_that_fits(jobs: Jobs, tmp_path: Path, way: str) -> None:
    shown = shown_at_a_terminal(jobs, command(way, tmp_path / "run"), 60)
    bars = [piece for line in shown.split("\n") for piece in line.split("\r") if re.search(r"\d % \|[ #]+\|", piece)]
    assert len(bars) > 2, shown
    assert max(map(len, bars)) <= 60
    assert all("epoch" in bar for bar in bars)
    epochs = re.findall(r"epoch \d +(?:loss )?\d\.\d{3} .* val \d\.\d{3} +\d+\.\d % *(best|)", shown)
    assert len(epochs) == 3, shown
    assert epochs[0] == "best"


@pytest.mark.parametrize("way", ["mpirun", "horovodrun"])
def test_lines_without_a_terminal(jobs: Jobs, tmp_path: Path, way: str) -> None:
    """Though mpirun gives the ranks pseudo-terminals."""
    process = jobs._start(command(way, tmp_path / "run"), {})
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "\r" not in output
    said = [re.sub(r"^\[1,0\]<stdout>:", "", line) for line in output.splitlines()]
    assert said[0] == "lenet5-like: 82,826 parameters, 32x32x1 images"
    assert said[1] == "digits: 10 classes; 1,293 training, 145 validation, 359 test images"
    assert re.fullmatch(r"2 workers on \S+, 1 thread each; 100 images a step, 50 per worker", said[2]), said
    assert said[3] == "39 steps (3 epochs)"
    assert said[4] == f"run folder: {tmp_path / 'run'}"
    assert "compiling the first step" in said
    assert len([line for line in said if re.match(r"epoch [123]/3  loss .* validation loss", line)]) == 3
