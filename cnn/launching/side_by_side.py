"""Runs a sequence of commands, as many in parallel as resources allow, each on exclusive cores and GPUs."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cnn.errors import RunError, UserError
from cnn.foreign_folder import open_new

_TERMINATION_SECONDS = 10.0
"""Time between SIGTERM and SIGKILL for a command; launchers allow their ranks five seconds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A command to run."""

    name: str
    arguments: Sequence[str]
    output: Path
    """The file for standard output and error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """The exclusive resources of one of the commands that run in parallel."""

    cores: frozenset[int]

    gpus: tuple[str, ...] = ()
    """As named in CUDA_VISIBLE_DEVICES; empty if there are no GPUs to divide."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompletedCommand:
    """A command that has ended."""

    name: str
    exit_code: int
    """If negative, the number of the signal that ended the command."""


class EndedBySignalError(RunError):
    """A signal requested this program to end, and the commands have ended."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}; run the same command again to continue.")
        self.exit_code = 128 + number


def divide(cores: Iterable[int], cores_each: int, gpus: Sequence[str] = (), gpus_each: int = 1) -> list[Share]:
    """Divides cores and GPUs into the shares of parallel commands; UserError if the cores do not suffice for one.

    No GPU is in two shares; if the GPUs do not suffice for one command, it gets all of them.
    """
    ordered = sorted(cores)
    if cores_each > len(ordered):
        raise UserError(f"--cores {cores_each} is more than the {len(ordered)} available cores: reduce it.")
    parallel = len(ordered) // cores_each
    if gpus:
        parallel = min(parallel, max(1, len(gpus) // gpus_each))
    return [
        Share(
            cores=frozenset(ordered[cores_each * index : cores_each * (index + 1)]),
            gpus=tuple(gpus[gpus_each * index : gpus_each * (index + 1)]),
        )
        for index in range(parallel)
    ]


def run_side_by_side(
    commands: Iterable[Command], shares: Sequence[Share], environment: Mapping[str, str], keep_open: int
) -> Generator[CompletedCommand, None, None]:
    """Starts the commands in order, as many in parallel as there are shares; ends them when the generator is closed.

    Args:
        commands: the commands.
        shares: the resources of each of the parallel commands.
        environment: the commands' environment, except CUDA_VISIBLE_DEVICES.
        keep_open: descriptor of a file that the commands hold open while they run, for example a lock.

    Yields:
        Each command as it ends.

    Raises:
        EndedBySignalError: SIGINT, SIGTERM or SIGHUP was received.
    """
    waiting, free = iter(commands), list(shares)
    running: list[tuple[Command, Share, subprocess.Popen[bytes]]] = []
    with _signals() as signals:
        try:
            while True:
                while free and (command := next(waiting, None)):
                    running.append((command, share := free.pop(0), _start(command, share, environment, keep_open)))
                if not running:
                    return
                number = os.read(signals, 1)[0]
                if number != signal.SIGCHLD:
                    raise EndedBySignalError(number)
                for each in [each for each in running if each[2].poll() is not None]:
                    running.remove(each)
                    free.append(each[1])
                    yield CompletedCommand(name=each[0].name, exit_code=each[2].returncode)
        finally:
            _end([process for _, _, process in running])


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """Yields a pipe that receives the number of each signal, one byte each, while the context is active."""
    # Ignored signals, such as SIGHUP under nohup, remain ignored.
    ending = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    handled = [signal.SIGCHLD, *(number for number in ending if signal.getsignal(number) != signal.SIG_IGN)]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakeup = signal.set_wakeup_fd(writer)
    before = {number: signal.signal(number, lambda *_: None) for number in handled}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(reader)
        os.close(writer)


def _start(command: Command, share: Share, environment: Mapping[str, str], keep_open: int) -> subprocess.Popen[bytes]:
    """Starts a command in a new session, so that signals from the terminal reach only this program."""
    affinity = os.sched_getaffinity(0)
    gpus = {"CUDA_VISIBLE_DEVICES": ",".join(share.gpus)} if share.gpus else {}
    with open_new(command.output) as output:
        os.sched_setaffinity(0, share.cores)  # inherited by the new process
        try:
            return subprocess.Popen(
                command.arguments,
                env={**environment, **gpus},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(keep_open,),
            )
        finally:
            os.sched_setaffinity(0, affinity)


def _end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _TERMINATION_SECONDS
    for process in processes:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
