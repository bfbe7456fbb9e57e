"""Programs in processes that are forked from one which has imported their libraries already.

Otherwise the imports would take most of the time of these tests. All else is as from a command line: the program reads
its arguments and environment, and has descriptors and an exit code of its own.
"""

import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn


class Preloaded:
    """A process that has imported the libraries."""

    def __init__(self, address: Path, folder: Path, seconds: int) -> None:
        """Starts it in the folder of all programs, of which none may last longer than these seconds."""
        self._address, self._seconds = str(address), seconds
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.preloaded", self._address, str(seconds)],
            cwd=folder,
            stdin=subprocess.PIPE,  # which tells it when this process has ended
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        """Runs `python ARGUMENTS`; gives the exit code and the output."""
        reading, writing = os.pipe()
        with socket.socket(socket.AF_UNIX) as connection, os.fdopen(reading, "rb") as output:
            connection.settimeout(self._seconds)
            connection.connect(self._address)
            request = json.dumps([arguments, dict(environment)]).encode()
            socket.send_fds(connection, [len(request).to_bytes(4, "big")], [writing])
            os.close(writing)
            connection.sendall(request)
            said = output.read()  # until all processes that the program has started have ended
            code = json.loads(connection.recv(100))
        return code, said.decode()

    def end(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


def _import_libraries() -> None:
    import cnn  # as the programs, whose environment may change what TensorFlow does

    # isort: split
    from cnn.quiet_import import import_tensorflow_quietly

    import_tensorflow_quietly()
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401

    import cnn.runs.train  # noqa: F401


def _serve(address: str) -> list[str]:
    """Forks a process for each request; returns the arguments in that process, which is to run the program."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that ended processes need not be waited for
        while select.select([server, sys.stdin], [], [])[0] == [server]:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                return _supervise(connection)
            connection.close()
        sys.exit(0)


def _supervise(connection: socket.socket) -> list[str]:
    """Forks the program's process, waits for it and sends its exit code; returns the arguments in that process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, (output,), _, _ = socket.recv_fds(connection, 4, 1)
    with connection.makefile("rb") as stream:
        arguments, environment = json.loads(stream.read(int.from_bytes(size, "big")))
    if program := os.fork():
        os.close(output)
        _, status = os.waitpid(program, 0)
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(json.dumps(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    connection.close()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, file in enumerate((nothing, output, output)):
        os.dup2(file, descriptor)
    os.close(nothing)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    return list(arguments)


def _run(arguments: list[str]) -> None:
    """Runs the program as `python ARGUMENTS` does."""
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = arguments, os.path.dirname(os.path.realpath(arguments[0]))
        runpy.run_path(sys.argv[0], run_name="__main__")


def main() -> NoReturn:
    """Serves until it is killed."""
    address, seconds = sys.argv[1:]
    _import_libraries()
    arguments = _serve(address)
    signal.alarm(int(seconds))  # if its test has ended before it
    _run(arguments)
    sys.exit(0)


if __name__ == "__main__":
    main()
