"""Commands run at once as far as there are cores, each on its own, and end when this program is told to."""

import os
import signal
import sys
from pathlib import Path

import pytest

from cnn.errors import UserError
from cnn.launching import side_by_side
from cnn.launching.side_by_side import Command, CompletedCommand, EndedBySignalError, Share, divide, run_side_by_side

CORE = min(os.sched_getaffinity(0))
SHARE = Share(cores=frozenset({CORE}))


def python(name: str, folder: Path, code: str, *arguments: object) -> Command:
    command = [sys.executable, "-c", f"import os, signal, sys\n{code}", *map(str, arguments)]
    return Command(name=name, arguments=command, output=folder / name)


def run(commands: list[Command], shares: int) -> list[CompletedCommand]:
    with open(os.devnull) as file:
        return list(run_side_by_side(commands, [SHARE] * shares, os.environ, file.fileno()))


@pytest.mark.parametrize(
    ("cores", "each", "shares"),
    [
        ({0, 1, 2}, 1, [{0}, {1}, {2}]),
        ({4, 6, 5, 9, 7}, 2, [{4, 5}, {6, 7}]),
        ({3, 8}, 2, [{3, 8}]),
    ],
)
def test_dividing_cores(cores: set[int], each: int, shares: list[set[int]]) -> None:
    assert [share.cores for share in divide(cores, each)] == shares


@pytest.mark.parametrize(
    ("gpus", "each", "shares"),
    [
        ("", 1, [(), (), (), ()]),
        ("0", 1, [("0",)]),
        ("3,5", 1, [("3",), ("5",)]),
        ("0,1,2,3,4,5", 1, [("0",), ("1",), ("2",), ("3",)]),
        ("0,1,2,3,4", 2, [("0", "1"), ("2", "3")]),
        ("0,1", 3, [("0", "1")]),
    ],
)
def test_dividing_gpus(gpus: str, each: int, shares: list[tuple[str, ...]]) -> None:
    divided = divide(range(4), 1, gpus.split(",") if gpus else [], each)
    assert [share.gpus for share in divided] == shares
    assert [share.cores for share in divided] == [{core} for core in range(len(shares))]


def test_each_is_shown_its_own_gpus(tmp_path: Path) -> None:
    shares = [Share(cores=SHARE.cores, gpus=gpus) for gpus in (("1", "2"), ("GPU-4af",))]
    commands = [python(name, tmp_path, "print(os.environ['CUDA_VISIBLE_DEVICES'])") for name in ("a", "b")]
    with open(os.devnull) as file:
        list(run_side_by_side(commands, shares, {**os.environ, "CUDA_VISIBLE_DEVICES": "1,2,GPU-4af"}, file.fileno()))
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["1,2\n", "GPU-4af\n"]


def test_more_cores_than_there_are() -> None:
    with pytest.raises(UserError, match="--cores 3 is more than the 2 available cores"):
        divide({0, 1}, 3)


def test_output_and_exit_codes_and_cores(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    commands = [
        python("a", tmp_path, "print(os.sched_getaffinity(0)); print('wrong', file=sys.stderr); sys.exit(3)"),
        python("b", tmp_path, "os.kill(os.getpid(), signal.SIGKILL)"),
    ]
    assert run(commands, 1) == [
        CompletedCommand(name="a", exit_code=3),
        CompletedCommand(name="b", exit_code=-signal.SIGKILL),
    ]
    assert sorted((tmp_path / "a").read_text().splitlines()) == ["wrong", f"{{{CORE}}}"]
    assert os.sched_getaffinity(0) == before


def test_as_many_at_once_as_there_are_shares(tmp_path: Path) -> None:
    """Each waits at a pipe for the other."""
    os.mkfifo(tmp_path / "pipe")
    wait = "signal.alarm(60); open(sys.argv[1], sys.argv[2])"
    commands = [python(mode, tmp_path, wait, tmp_path / "pipe", mode) for mode in ("r", "w")]
    assert {each.name: each.exit_code for each in run(commands, 2)} == {"r": 0, "w": 0}


def test_never_more_at_once(tmp_path: Path) -> None:
    """Each counts what this process runs in this folder."""
    count = """
children = open(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read().split()
sys.exit(sum(sys.argv[1] in open(f"/proc/{child}/cmdline").read() for child in children))
"""
    commands = [python(str(number), tmp_path, count, tmp_path) for number in range(4)]
    assert [each.exit_code for each in run(commands, 1)] == [1] * 4


def children() -> set[int]:
    """The processes that this one has started and that have not ended, or that nobody has waited for."""
    return {int(each) for task in Path("/proc/self/task").iterdir() for each in (task / "children").read_text().split()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_that_runs_and_starts_nothing_more(tmp_path: Path, number: signal.Signals) -> None:
    handler, before = signal.getsignal(number), children()
    commands = [
        python("waits", tmp_path, "open(sys.argv[1], 'w').write(str(os.getpid())); signal.pause()", tmp_path / "pid"),
        python("asks", tmp_path, f"os.kill(os.getppid(), {int(number)}); signal.pause()"),
        python("never", tmp_path, "pass"),
    ]
    with pytest.raises(EndedBySignalError, match=f"ended by {number.name}; run the same command again") as caught:
        run(commands, 2)
    assert caught.value.exit_code == 128 + number
    assert not (tmp_path / "never").exists()
    assert signal.getsignal(number) == handler
    assert children() == before


def test_what_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "_TERMINATION_SECONDS", 0.1)
    before = children()
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(os.getppid(), signal.SIGTERM); signal.pause()"
    with pytest.raises(EndedBySignalError):
        run([python("deaf", tmp_path, deaf)], 1)
    assert children() == before


def test_a_file_is_held_open_by_what_runs(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as lock:
        code = "sys.exit(os.fstat(int(sys.argv[1])).st_ino != os.stat(sys.argv[2]).st_ino)"
        command = python("a", tmp_path, code, lock.fileno(), tmp_path / "lock")
        ends = run_side_by_side([command], [SHARE], os.environ, lock.fileno())
        assert [end.exit_code for end in ends] == [0]
