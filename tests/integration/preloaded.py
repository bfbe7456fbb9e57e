"""Programs in processes that are forked from one which has imported their libraries already.

Otherwise the imports would take most of the time of these tests. All else is as from a command line: the program reads
its arguments and environment, and has descriptors, a folder, cores and an exit code of its own.

`python preloaded.py serve SOCKET SECONDS MANNER` is the process with the libraries, `python preloaded.py run SOCKET
PROGRAM ARGUMENTS` what a launcher starts in place of `python PROGRAM ARGUMENTS`.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, Self

_IMPORTED_LATE = (
    "docstring_parser",
    "jsonargparse",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "numpy.random",
    "PIL.JpegImagePlugin",
    "tensorboard.plugins.hparams.metadata",
    "tensorboard.summary",
)
"""Libraries that most programs import, but no module of cnn does as it is imported."""


class Preloaded:
    """A process that has imported the libraries."""

    def __init__(
        self,
        address: Path,
        environment: Mapping[str, str],
        seconds: int,
        *,
        within: Sequence[str] = (),
        keep_shared: bool = False,
    ) -> None:
        """Starts it.

        Args:
            address: the socket over which it is asked for programs; beside it, a command is written.
            environment: its environment variables.
            seconds: no program may last longer.
            within: the command, if any, by which it is started, for example in a namespace; so are its programs, then.
            keep_shared: end programs without deleting their objects, whose memory, shared until then, many programs
                would need copies of at the same time.
        """
        self._address, self._seconds = str(address), seconds
        _write_python(address)
        self._process = subprocess.Popen(
            [*within, sys.executable, __file__, "serve", self._address, str(seconds), "keep_shared" * keep_shared],
            env=environment,
            stdin=subprocess.PIPE,  # which tells it when this process has ended
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        self.script = _python(address)
        """The program to give to launchers in place of `python`."""

    def run(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
        """Runs `python ARGUMENTS` in this folder; gives the exit code and the output."""
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as output, open(os.devnull, "rb") as nothing:
            descriptors = (nothing.fileno(), writing, writing)
            connection, _ = _request(self._address, arguments, folder, environment, descriptors)
            with connection:
                os.close(writing)
                connection.settimeout(self._seconds)
                said = output.read()  # until all processes that the program has started have ended
                code = _read_number(connection)
        return code, said.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


def represented(process: int) -> int:
    """The process for which this one stands, or itself."""
    folder = Path("/proc", str(process))
    stands = __file__.encode() in (folder / "cmdline").read_bytes().split(b"\0")
    return int((folder / "comm").read_text()) if stands else process


def _python(address: str | Path) -> Path:
    """The command that programs start as `python PROGRAM`, for example as their ranks."""
    return Path(address).with_name("python")


def _write_python(address: Path) -> None:
    script = f"""#!/bin/sh
case $1 in
  -[!m]*) exec {sys.executable} "$@" ;;
  *) exec {sys.executable} -S {__file__} run {address} "$@" ;;
esac
"""
    _python(address).write_text(script)
    _python(address).chmod(0o700)


def _request(
    address: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], descriptors: Sequence[int]
) -> tuple[socket.socket, int]:
    """Has the program started; returns the connection, over which its exit code will come, and its process id."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    request = json.dumps([arguments, str(folder), dict(environment), [*os.sched_getaffinity(0)]]).encode()
    socket.send_fds(connection, [len(request).to_bytes(4, "big")], descriptors)
    connection.sendall(request)
    return connection, _read_number(connection)


def _read_number(connection: socket.socket) -> int:
    return int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big", signed=True)


def _send_number(connection: socket.socket, number: int) -> None:
    connection.sendall(number.to_bytes(4, "big", signed=True))


def _run_as_rank(address: str, arguments: Sequence[str]) -> NoReturn:
    """Runs `python ARGUMENTS` with this process's environment and descriptors, and ends as it does."""
    connection, program = _request(address, arguments, Path.cwd(), os.environ, (0, 1, 2))
    Path("/proc/self/comm").write_text(str(program))  # so that `represented` finds it

    def pass_on(number: int, _: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(program, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, pass_on)
    code = _read_number(connection)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)  # at once, as otherwise further signals would end it in their way


def _import_libraries() -> None:
    import cnn  # as the programs, whose environment may change what TensorFlow does

    # isort: split
    from cnn.quiet_import import import_tensorflow_quietly

    import_tensorflow_quietly()
    packages = pkgutil.walk_packages(cnn.__path__, "cnn.")
    for name in (*(package.name for package in packages), *_IMPORTED_LATE):
        importlib.import_module(name)
    gc.freeze()  # so that collecting garbage leaves their memory shared


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
                sys.executable = str(_python(address))
                return _supervise(connection)
            connection.close()
        sys.exit(0)


def _supervise(connection: socket.socket) -> list[str]:
    """Forks the program's process, waits for it and sends its exit code; returns the arguments in that process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    request = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    if program := os.fork():
        for descriptor in descriptors:
            os.close(descriptor)
        _send_number(connection, program)
        if connection in select.select([os.pidfd_open(program), connection], [], [])[0]:
            os.kill(program, signal.SIGKILL)  # as the process has been that stood for it
        _, status = os.waitpid(program, 0)
        with contextlib.suppress(OSError):
            _send_number(connection, os.waitstatus_to_exitcode(status))
        os._exit(0)
    connection.close()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    arguments, folder, environment, cores = json.loads(request)
    os.chdir(folder)
    os.sched_setaffinity(0, cores)
    os.environ.clear()
    os.environ.update(environment)
    return list(arguments)


def _run(arguments: list[str]) -> None:
    """Runs the program as `python ARGUMENTS` does."""
    named = "python" if shutil.which("python") == sys.executable else sys.executable
    sys.orig_argv = [named, *arguments]
    if arguments[0] == "-m":
        sys.argv, sys.path[0] = arguments[1:], os.getcwd()
        sys.modules.pop(sys.argv[0], None)  # as it is run, not imported
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = arguments, os.path.dirname(os.path.realpath(arguments[0]))
        runpy.run_path(sys.argv[0], run_name="__main__")


def main() -> NoReturn:
    """Serves until it is killed, or stands for a program."""
    mode, address, *rest = sys.argv[1:]
    if mode == "run":
        _run_as_rank(address, rest)
    _import_libraries()
    arguments = _serve(address)
    signal.alarm(int(rest[0]))  # if its test has ended before it
    if rest[1] != "keep_shared":
        _run(arguments)
        sys.exit(0)
    code = 0
    try:
        _run(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
