"""Starts the running program again, with other numbers of workers."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from cnn.errors import RunError, UserError


def relaunch(launcher: str, workers: int, output: Path) -> None:
    """Runs this program with its arguments and `--output OUTPUT`, and waits for its end.

    Args:
        launcher: the command that starts workers; one is started without it.
        workers: how many.
        output: where it is to leave what it found.

    Raises:
        UserError: there is no such launcher.
        RunError: it failed; it has said why.
    """
    own = [sys.executable, *sys.argv, "--output", str(output)]
    command = own if workers == 1 else [*shlex.split(launcher), str(workers), *own]
    # Open MPI refuses to run as root unless told so twice; in containers root is usual.
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    try:
        code = subprocess.run(command, env=environment, check=False).returncode
    except OSError as error:
        raise UserError(f"--launcher '{launcher}' cannot be started: {error.strerror}.") from error
    if code:
        raise RunError(f"the measurement with {workers} workers ended with exit code {code}.")
