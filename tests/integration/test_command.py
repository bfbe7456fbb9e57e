"""The installed command `cnn`: the same programs as in jobs, alone and under launchers."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..installed_command import install_command
from .conftest import ENVIRONMENT, ROOT


def test_a_run_and_its_evaluation(jobs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--model", "fcnn", "--lr", 0.01, "--global-batch-size", 64, "--steps", 3, "--run-dir", run)
    code, output = jobs.run_command("train", *options, launcher="mpirun", workers=2, folder=tmp_path)
    assert code == 0, output
    assert json.loads((run / "environment.json").read_text())["topology"]["world_size"] == 2
    assert "learning_rate: 0.01\n" in (run / "settings.yaml").read_text()
    code, output = jobs.run_command("evaluate", run, folder=tmp_path)
    assert code == 0, output
    assert output.startswith("fcnn on digits, step 3: ")


def test_a_program_that_starts_itself_with_more_workers(jobs, tmp_path: Path) -> None:
    options = ("--models", "fcnn", "--workers", 2, "--proof_steps", 1, "--proof_batch_size", 20)
    code, output = jobs.run_command("prove", *options, folder=tmp_path)
    assert code == 0, output
    assert "fcnn" in output


@pytest.mark.parametrize(
    ("workers", "words", "sentence"),
    [
        (1, ("trian",), "there is no command 'trian'; did you mean cnn train?"),
        (2, ("trian",), "there is no command 'trian'; did you mean cnn train?"),
        (
            2,
            ("train", "--batch_size", 64),
            "there is no option --batch_size; did you mean --global_batch_size? --help lists",
        ),
        (1, ("train", "--epochs", "1e1"), "--epochs '1e1' is not a whole number: write 10."),
        (1, ("evaluate", "runs/none"), "runs/none does not exist: name a folder that jobs/train.py has written"),
    ],
)
def test_a_mistake_is_told_once(jobs, tmp_path: Path, workers: int, words: tuple[object, ...], sentence: str) -> None:
    launcher = "none" if workers == 1 else "mpirun"
    code, output = jobs.run_command(*words, launcher=launcher, workers=workers, folder=tmp_path)
    assert code == 2, output
    assert output.count(f"error: {sentence}") == output.count("error: ") == 1
    assert "Traceback" not in output


def test_help_is_printed_once_by_two_workers(jobs, tmp_path: Path) -> None:
    code, output = jobs.run_command("train", "--help", launcher="mpirun", workers=2, folder=tmp_path)
    assert code == 0, output
    assert output.count("usage: cnn train [--NAME VALUE] ...") == 1


@pytest.mark.parametrize("words", [(), ("--help",), ("--version",), ("train", "--help"), ("evaluate", "--version")])
def test_help_and_versions_need_no_tensorflow(tmp_path: Path, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-X", "importtime", str(install_command(tmp_path)), *words]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout
    assert re.search(r"\| +cnn\.launching\.command\n", done.stderr)
    assert not re.search(r"\| +(tensorflow|keras|horovod|mpi4py)\b", done.stderr)


def test_help_shows_the_commands_that_started_it(tmp_path: Path) -> None:
    shown = {}
    for name, start in (("cnn", [install_command(tmp_path), "evaluate"]), ("python", [ROOT / "jobs/evaluate.py"])):
        command = [sys.executable, *map(str, start), "--help"]
        done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
        shown[name] = done.stdout
    assert "usage: cnn evaluate [RUN_DIR] [--NAME VALUE] ..." in shown["cnn"]
    assert "python jobs/evaluate.py --run_dir runs/a" in shown["python"]
    assert "cnn evaluate --run_dir runs/a" in shown["cnn"]
    assert "jobs/" not in shown["cnn"]


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("cnn ev", ["evaluate "]),
        ("cnn pr", ["predict", "prepare", "prove"]),
        ("cnn train --mod", ["--model "]),
        ("cnn train --model lenet5-", ["lenet5-like "]),
        ("cnn evaluate runs/a --par", ["--part "]),
        ("cnn train --flip t", ["true "]),
    ],
)
def test_shells_complete_commands_options_and_names(tmp_path: Path, line: str, completions: list[str]) -> None:
    pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    environment = {
        **ENVIRONMENT,
        "PYTHONPATH": os.pathsep.join(sys.path[1:]),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
    }
    subprocess.run([install_command(tmp_path)], env=environment, check=True, timeout=60)
    assert answer.read_text().split("\n") == completions
