"""The checks of a GPU machine: what they call is there, and what comes of them is reported."""

import importlib.util
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnn.measuring import benchmark, proof
from cnn.settings.settings import TrainingSettings, parse_settings

from .cases import parse_case
from .check import choose, run_all
from .checks import PYTHON, Check, all_checks

ROOT = Path(__file__).parents[2]
CHECKS = all_checks(Path("out"), Path("work"))
COMMANDS = [list(map(str, command)) for check in CHECKS for command in check.commands if command[0] == PYTHON]
SETTINGS = {"train": TrainingSettings, "benchmark": benchmark.Settings, "prove": proof.Settings}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Runs checks where there is no GPU."""
    (tmp_path / "logs").mkdir()

    def run(*checks: Check, seconds: float = 100) -> list[dict[str, Any]]:
        return run_all(checks, tmp_path, tmp_path, seconds, gpu=False)

    return run


def check(name: str, *commands: tuple[str, ...], seconds: int = 30, **more: Any) -> Check:
    return Check(name, f"what {name} is", seconds, commands, needs_gpu=False, **more)


@pytest.mark.parametrize("command", [each for each in COMMANDS if each[1].startswith("jobs/")], ids=" ".join)
def test_jobs_take_their_settings(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    _, program, *arguments = command
    assert Path(program).is_file()
    if kind := SETTINGS.get(Path(program).stem):
        parse_settings("", kind, arguments)


@pytest.mark.parametrize(
    "command", [each for each in COMMANDS if "tests.gpu." in each[2]], ids=lambda command: command[2]
)
def test_programs_are_there_and_take_their_cases(command: list[str]) -> None:
    assert importlib.util.find_spec(command[2])
    for words in command:
        if ":" in words:
            parse_case(words)


def test_what_came_of_each_check_is_kept(run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run(
        check("good", ("sh", "-c", "echo one; echo $WORD"), environment={"WORD": "two"}),
        check("chosen", ("echo", "first"), ("printf", "second\nthird\n"), keep=("^s",)),
        check("bad", ("sh", "-c", "echo why; exit 3"), ("echo", "never")),
        check("late", ("sleep", "100"), seconds=1),
        check("all-skipped", ("echo", "===== 3 skipped in 0.1s =====")),
        Check("accelerated", "", 30, (("echo", "on a GPU"),)),
    )
    assert {row["name"]: (row["result"], row["lines"]) for row in rows} == {
        "good": ("ok", ["one", "two"]),
        "chosen": ("ok", ["second"]),
        "bad": ("exit 3", ["why"]),
        "late": ("time", []),
        "all-skipped": ("skipped", ["===== 3 skipped in 0.1s ====="]),
        "accelerated": ("no GPU", []),
    }
    assert json.loads((tmp_path / "results.json").read_text()) == {"gpu": False, "checks": rows}
    assert (tmp_path / "summary.txt").read_text() == capsys.readouterr().out
    with tarfile.open(tmp_path / "logs.tar.gz") as archive:
        assert "logs/bad.log" in archive.getnames()


def test_no_check_is_begun_without_enough_time(run) -> None:
    assert [row["result"] for row in run(check("long", ("echo",)), seconds=20)] == ["no time"]


def test_checks_are_chosen_by_name() -> None:
    checks = [check(name) for name in "abcd"]
    names = [[each.name for each in choose(checks, *asked)] for asked in (([], ["b"], None), (["d", "a"], [], "b"))]
    assert names == [["a", "c", "d"], ["d"]]
    with pytest.raises(SystemExit, match="there is no x; there are a, b, c, d"):
        choose(checks, ["x"], [], None)
