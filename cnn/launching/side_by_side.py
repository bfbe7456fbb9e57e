"""Runs commands one after another, several at once where there is room, each on cores and GPUs of its own."""

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

_SECONDS_TO_END = 10.0
"""How long a command that is told to end may take; launchers give their ranks five seconds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What to run."""

    name: str
    arguments: Sequence[str]
    output: Path
    """The file for everything that it writes to the terminal."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """What one of the commands that run at once has to itself."""

    cores: frozenset[int]

    gpus: tuple[str, ...] = ()
    """As CUDA_VISIBLE_DEVICES names them; empty where there are none to divide."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    name: str
    exit_code: int
    """Negative: that of the signal which ended it."""


class EndedBySignalError(RunError):
    """A signal asked this program to end, and the commands have ended."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}; the same command again goes on.")
        self.exit_code = 128 + number


def divide(cores: Iterable[int], cores_each: int, gpus: Sequence[str] = (), gpus_each: int = 1) -> list[Share]:
    """What each of the commands has that can run at once; UserError when there are too few cores for one.

    Where there are GPUs, none is in two shares; if they are too few for one command, that has all of them.
    """
    ordered = sorted(cores)
    if cores_each > len(ordered):
        raise UserError(f"--cores {cores_each} is more than the {len(ordered)} that there are: give fewer.")
    at_once = len(ordered) // cores_each
    if gpus:
        at_once = min(at_once, max(1, len(gpus) // gpus_each))
    return [
        Share(
            cores=frozenset(ordered[cores_each * index : cores_each * (index + 1)]),
            gpus=tuple(gpus[gpus_each * index : gpus_each * (index + 1)]),
        )
        for index in range(at_once)
    ]


def run_side_by_side(
    commands: Iterable[Command], shares: Sequence[Share], environment: Mapping[str, str], keep_open: int
) -> Generator[Ended, None, None]:
    """Starts the commands in their order, as many at once as there are shares.

    Args:
        commands: what to run.
        shares: what each of those that run at once has.
        environment: that of the commands, but for CUDA_VISIBLE_DEVICES.
        keep_open: a file that the commands hold open as long as they run, a lock say.

    Yields:
        Each command's end, as it comes.

    Raises:
        EndedBySignalError: SIGINT, SIGTERM or SIGHUP came. Whatever ends this early ends the commands too.
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
                    yield Ended(name=each[0].name, exit_code=each[2].returncode)
        finally:
            _end([process for _, _, process in running])


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """Gives a pipe in which the numbers of the signals arrive that come meanwhile, a byte each."""
    # What is ignored, SIGHUP under nohup say, stays so.
    ending = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    wanted = [signal.SIGCHLD, *(number for number in ending if signal.getsignal(number) != signal.SIG_IGN)]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakeup = signal.set_wakeup_fd(writer)
    before = {number: signal.signal(number, lambda *_: None) for number in wanted}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(reader)
        os.close(writer)


def _start(command: Command, share: Share, environment: Mapping[str, str], keep_open: int) -> subprocess.Popen[bytes]:
    """In a session of its own, so that what is typed at the terminal comes to this program alone."""
    mine = os.sched_getaffinity(0)
    gpus = {"CUDA_VISIBLE_DEVICES": ",".join(share.gpus)} if share.gpus else {}
    with open_new(command.output) as output:
        os.sched_setaffinity(0, share.cores)  # which the new process takes over
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
            os.sched_setaffinity(0, mine)


def _end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _SECONDS_TO_END
    for process in processes:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
