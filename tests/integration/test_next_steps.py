"""Every command that a run proposes works as it is printed."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import ROOT, SECONDS, Jobs
from .preloaded import Preloaded

SIZE = ("--model", "fcnn", "--global_batch_size", 100, "--epochs", 1)


def photographs(folder: Path) -> Path:
    """Two classes, and among the images one that cannot be read."""
    random = np.random.default_rng(1)
    for name in ("cats & dogs", "-it's"):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    (folder / "cats & dogs" / "0.png").write_bytes(b"damaged")
    return folder


class Shell:
    """Runs commands as a user's shell does. `python` and `tensorboard` have imported their libraries before."""

    def __init__(self, jobs: Jobs, preloaded: Preloaded, folder: Path) -> None:
        self._usual = jobs.environment
        path = ":".join(map(str, (folder, preloaded.script.parent, jobs.environment["PATH"])))
        self._environment = {**jobs.environment, "PATH": path}
        tensorboard = folder / "tensorboard"
        tensorboard.write_text('#!/bin/sh\nexec python -m tensorboard.main "$@"\n')
        tensorboard.chmod(0o755)

    def run(self, command: str, *, as_child: bool = False) -> str:
        """Gives the output; `as_child`: of a program that is a child of its launcher, and imports its libraries."""
        output = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=self._usual if as_child else self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert output.returncode == 0, (command, output.stdout)
        return output.stdout

    def train_and_follow(self, command: str) -> list[str]:
        """Runs a command that trains, and then each that it proposes; gives these."""
        proposed = proposals(self.run(command))
        assert proposed
        for each in proposed[:-1]:
            self.run(each)
        self.look(proposed[-1])
        return proposed

    def look(self, command: str) -> None:
        """Runs a command that shows runs in a browser, until it can be opened there."""
        words = ["bash", "-c", f"exec {command} --port 0 --host 127.0.0.1"]
        with subprocess.Popen(words, cwd=ROOT, env=self._environment, stderr=subprocess.PIPE, text=True) as process:
            assert any("http://127.0.0.1:" in line for line in process.stderr or ()), command
            process.terminate()


@pytest.fixture
def shell(jobs: Jobs, preloaded: Preloaded, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(jobs, preloaded, tmp_path_factory.mktemp("programs"))


def proposals(output: str) -> list[str]:
    """The commands of the closing paragraph."""
    said = re.sub(r"^\[(1,)?0\]<stdout>:", "", output, flags=re.MULTILINE)  # horovodrun's prefix
    _, _, paragraph = said.partition("Next, for example:\n")
    return [line.strip() for line in paragraph.splitlines() if line.startswith("  ")]


def words_of(folder: Path, *options: object) -> str:
    return shlex.join(map(str, ["jobs/train.py", *SIZE, "--run_dir", folder, *options]))


def test_alone(shell: Shell, tmp_path: Path) -> None:
    """On a machine with another core, it proposes another worker."""
    run = tmp_path / "run"
    more = [f"horovodrun -np 2 python jobs/train.py --config {run}/settings.yaml --run_dir {run}-2-workers"]
    assert shell.train_and_follow(f"python {words_of(run)}") == [
        f"python jobs/evaluate.py --run_dir {run}",
        f"python jobs/export.py --run_dir {run}",
        f"python jobs/train.py --config {run}/settings.yaml --resume --epochs 2",
        *more[: len(os.sched_getaffinity(0)) - 1],
        f"tensorboard --logdir {tmp_path}",
    ]


def test_own_images_rates_that_depend_on_the_end_and_names_to_be_quoted(shell: Shell, tmp_path: Path) -> None:
    run, images = tmp_path / "it's a run", photographs(tmp_path / "my photographs")
    data = ("--data", "folder", "--data_dir", images, "--image_size", 8, "--damaged", "skip", "--schedule", "cosine")
    proposed = shell.train_and_follow(f"taskset -c 0 python {words_of(run, *data)}")
    quoted, longer = shlex.quote(str(run)), shlex.quote(f"{run}-longer")
    assert proposed[0] == f"python jobs/evaluate.py --run_dir {quoted}"
    assert re.match(rf"python jobs/predict.py --run_dir {re.escape(quoted)} --images .*\.png", proposed[1])
    assert proposed[2:] == [
        f"python jobs/export.py --run_dir {quoted}",
        f"python jobs/train.py --config {shlex.quote(f'{run}/settings.yaml')} --run_dir {longer} --epochs 2",
        f"tensorboard --logdir {tmp_path}",
    ]


@pytest.mark.parametrize(
    "launcher",
    [
        "mpirun --oversubscribe -np 3 python",
        "bash launch/mpirun.sh -np 2 --oversubscribe --",
    ],
)
def test_crowded_workers_are_not_told_to_be_more(shell: Shell, tmp_path: Path, launcher: str) -> None:
    """What trains for longer does it by the same launcher."""
    run = tmp_path / "run"
    options = words_of(run, "--steps", 3).removeprefix("jobs/train.py " if launcher.endswith("--") else "")
    proposed = proposals(shell.run(f"taskset -c 0 {launcher} {options}", as_child=True))
    program = launcher if launcher.endswith("--") else f"{launcher} jobs/train.py"
    longer = f"{program} --config {run}/settings.yaml --resume --steps 6"
    assert longer in proposed
    assert not any("-workers" in each for each in proposed)
    assert proposals(shell.run(f"taskset -c 0 {longer}"))


def test_what_was_exported_already_is_not_proposed_again(shell: Shell, tmp_path: Path) -> None:
    command = f"python {words_of(tmp_path / 'run')}"
    before = proposals(shell.run(command))
    (export,) = [each for each in before if "export.py" in each]
    shell.run(export)
    after = proposals(shell.run(f"{command} --resume"))
    assert set(before) - set(after) == {export}
