"""The commands that a run proposes are those that its user would type; tests/integration executes them."""

import os
import sys
from pathlib import Path

import pytest

from cnn.cluster.launchers.command_line import COMMAND, installed_command, program_command, typed_command, with_launcher
from cnn.cluster.launchers.process import ALONE, Launch

OPTIONS = ["--model", "lenet5", "--run_dir", "runs/a"]
BIN = str(Path(sys.executable).parent)
GLOO = Launch(controller="gloo", rank=0, world_size=2, local_rank=0, local_size=2, bound=False)


@pytest.fixture
def started_by(monkeypatch: pytest.MonkeyPatch) -> object:
    def started_by(words: list[str], options: list[str]) -> None:
        monkeypatch.setattr(sys, "orig_argv", [*words, *options])
        monkeypatch.setattr(sys, "argv", ["jobs/train.py", *options])

    return started_by


@pytest.mark.parametrize(
    ("words", "command", "evaluate", "tensorboard"),
    [
        (["python", "jobs/train.py"], "python jobs/train.py", "python jobs/evaluate.py", "tensorboard"),
        (
            [f"{os.getcwd()}/v/python", "jobs/train.py"],
            "v/python jobs/train.py",
            "v/python jobs/evaluate.py",
            "v/tensorboard",
        ),
        ([f"{BIN}/python", f"{BIN}/cnn", "train"], "cnn train", "cnn evaluate", "tensorboard"),
    ],
)
@pytest.mark.parametrize("options", [OPTIONS, []])
def test_by_one_process(
    started_by,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    command: str,
    evaluate: str,
    tensorboard: str,
    options,
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"{BIN}/{name}")
    started_by(words, options)
    assert typed_command(ALONE, {}) == command
    assert program_command("evaluate") == evaluate
    assert installed_command("tensorboard") == tensorboard
    horovodrun = tensorboard.replace("tensorboard", "horovodrun")
    assert with_launcher(["horovodrun", "-np", "2"]) == f"{horovodrun} -np 2 {command}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("bash launch/mpirun.sh -H 'a b:1' --", "bash launch/mpirun.sh -H 'a b:1' --"),
        (
            "horovodrun -np 2 python jobs/train.py --model lenet5 --run_dir runs/a",
            "horovodrun -np 2 python jobs/train.py",
        ),
        (None, "horovodrun -np 2 python jobs/train.py"),  # Horovod's own
    ],
)
def test_by_a_launcher(started_by, given: str | None, expected: str) -> None:
    started_by(["python", "jobs/train.py"], OPTIONS)
    assert typed_command(GLOO, {} if given is None else {COMMAND: given}) == expected
