"""Starts the running program again, or another program, with a given number of workers."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cnn.cluster.launchers.process import launch_from_environment
from cnn.errors import RunError, UserError


def relaunch(launcher: str, workers: int, output: Path) -> None:
    """Runs this program, as `run_with_workers` does, with its arguments and `--output OUTPUT`."""
    run_with_workers(launcher, workers, [*sys.argv, "--output", str(output)])


def is_relaunched() -> bool:
    """Whether this program has the option --output, which `relaunch` adds: it must then do the measurement itself."""
    return any(word.partition("=")[0] == "--output" for word in sys.argv[1:])


def run_with_workers(launcher: str, workers: int, program: Sequence[str]) -> None:
    """Runs a Python program, and waits for its end.

    Args:
        launcher: mpirun or horovodrun, with options of launch/mpirun.sh; not used for a single worker.
        workers: number of workers.
        program: the file and its arguments.

    Raises:
        UserError: there is no such launcher, or this program was itself started by one.
        RunError: the program failed, and has reported why.
    """
    if launch_from_environment(os.environ).world_size > 1:
        raise UserError(
            f"{sys.argv[0]} starts workers itself: start it without a launcher, and name hosts by "
            "--launcher 'mpirun -H a:4,b:4'."
        )
    try:
        words = shlex.split(launcher)
    except ValueError:  # an open quotation mark
        words = []
    if words[:1] not in (["mpirun"], ["horovodrun"]):
        raise UserError(f"--launcher '{launcher}' is neither mpirun nor horovodrun, with options of launch/mpirun.sh.")
    file, *arguments = program
    command = [sys.executable, *program]
    if workers > 1:
        start = [sys.executable, "-m", "cnn.launching.launcher", *words]
        command = [*start, "-np", str(workers), "--program", file, "--", *arguments]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise RunError(f"{Path(file).name} with {workers} workers ended with exit code {code}.")
