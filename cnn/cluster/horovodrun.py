"""Horovod's horovodrun, in this process: `python -m cnn.cluster.horovodrun -np 2 python jobs/train.py`."""

import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from cnn.errors import RunError, told
from cnn.quiet_import import import_tensorflow_quietly


def as_a_process(command: Sequence[str]) -> list[str]:
    """What starts a process that does what a command of horovodrun does, and writes and exits as our programs do."""
    return [sys.executable, "-m", "cnn.cluster.horovodrun", *command[1:]]


def become_horovodrun(command: Sequence[str]) -> NoReturn:
    """Does what the command does, and exits.

    By itself it writes lines of TensorFlow's, which it loads, and ends with a traceback when a rank fails; here it ends
    with the exit code of the first rank that did.
    """
    import_tensorflow_quietly()
    from horovod.runner.driver import driver_service
    from horovod.runner.launch import run_commandline

    # On hosts that are all this one it takes lo, whatever it is told to take, and others could not join them later.
    local = driver_service.get_local_interfaces
    driver_service.get_local_interfaces = lambda settings: settings.nics or local(settings)

    sys.argv = list(command)
    try:
        run_commandline()
    except RuntimeError as error:
        code = re.search(r"exit code:? (\d+)", str(error), re.IGNORECASE)
        if code is None:
            raise RunError(f"horovodrun: {' '.join(str(error).split())}") from error
        sys.exit(int(code[1]))
    sys.exit(0)


if __name__ == "__main__":
    with told():
        become_horovodrun(["horovodrun", *sys.argv[1:]])
