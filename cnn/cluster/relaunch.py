"""Starts a program with any number of workers: the running one again, or another."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cnn.errors import RunError, UserError


def relaunch(launcher: str, workers: int, output: Path) -> None:
    """Runs this program with its arguments and `--output OUTPUT`, as `run_with_workers`."""
    run_with_workers(launcher, workers, [*sys.argv, "--output", str(output)])


def run_with_workers(launcher: str, workers: int, program: Sequence[str]) -> None:
    """Runs a Python program, and waits for its end.

    Args:
        launcher: the command that starts workers; one is started without it.
        workers: how many.
        program: the file and its arguments.

    Raises:
        UserError: there is no such launcher.
        RunError: it failed; it has said why.
    """
    own = [sys.executable, *program]
    command = own if workers == 1 else [*shlex.split(launcher), str(workers), *own]
    # Open MPI refuses to run as root unless told so twice; in containers root is usual.
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    try:
        code = subprocess.run(command, env=environment, check=False).returncode
    except OSError as error:
        raise UserError(f"--launcher '{launcher}' cannot be started: {error.strerror}.") from error
    if code:
        raise RunError(f"{Path(program[0]).name} with {workers} workers ended with exit code {code}.")
