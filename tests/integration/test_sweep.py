"""A real sweep: ended by a signal, gone on with, not repeated, and compared."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from cnn.monitoring.records.metrics import read_metrics
from cnn.runs.run_folder import start_folder
from cnn.sweeps.recipe import combinations

from .processes import until

RECIPE = """
data: digits
model: lenet5-like
epochs: 30
blocks:
  - {optimizer: sgd, learning_rate: [0.05, 1.0e+30]}
  - {optimizer: adam, model: fcnn, epochs: 1}
"""
GOOD, DIVERGING, FAILING = "digits-lenet5-like-sgd-0.05", "digits-lenet5-like-sgd-1e+30", "digits-fcnn-adam-0.001"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def damage(recipe: Path, folder: Path) -> None:
    """Leaves a run whose last checkpoint cannot be read."""
    combination = {each.name: each for each in combinations(recipe, {})}[FAILING]
    shutil.rmtree(folder / FAILING, ignore_errors=True)  # on a slow machine it may have come to something
    start_folder(folder / FAILING, {**combination.settings.merged, "run_dir": str(folder / FAILING)})
    (folder / FAILING / "checkpoints").mkdir()
    (folder / FAILING / "checkpoints" / "step-000000010.npz").write_bytes(b"no checkpoint")


def runs_in(folder: Path) -> list[str]:
    """The command lines of the processes that train into a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = os.fsdecode((process / "cmdline").read_bytes())  # any bytes: other tests run beside
        except OSError:
            continue
        if str(folder) in arguments and "train.py" in arguments:
            found.append(arguments)
    return found


def test_a_sweep(jobs, recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    command = ("jobs/sweep.py", "--recipe", recipe, "--sweep_dir", folder)

    first = jobs.start(*command)
    until(lambda: bool(list((folder / GOOD / "checkpoints").glob("step-*.npz"))), first)
    first.send_signal(signal.SIGTERM)
    output, _ = first.communicate(timeout=60)
    before_the_signal, stopped = output, time.time()
    assert first.returncode == 128 + signal.SIGTERM, output
    assert output.endswith("error: ended by SIGTERM; run the same command again to continue.\n")
    assert runs_in(folder) == []
    assert not (folder / GOOD / "summary.json").exists()
    assert not (folder / "results.md").exists()

    damage(recipe, folder)
    code, output = jobs.run(*command)
    assert code == 1, output  # for the run that cannot go on
    assert re.search(rf"^[123]/3 {re.escape(GOOD)}: test \d\d\.\d %, best validation ", output, re.MULTILINE), output
    diverged = rf"{re.escape(DIVERGING)}: at step 2 the loss is nan.*: training has diverged\n"
    assert re.search(diverged, before_the_signal + output)  # it may have been quicker than the signal
    assert re.search(rf"^{FAILING}: failed, the checkpoint \S+ is damaged", output, re.MULTILINE), output
    assert "\n3 runs, 1 done, 1 diverged, 1 failed\n" in output
    records = read_metrics(folder / GOOD / "metrics.jsonl")
    assert records[0]["time"] < stopped < records[-1]["time"]  # it was not begun anew
    summary = json.loads((folder / GOOD / "summary.json").read_text())
    rows = {row["name"]: row for row in json.loads((folder / "results.json").read_text())["runs"]}
    assert rows[GOOD]["test_accuracy"] == summary["test_accuracy"] > 0.8
    assert rows[GOOD]["steps"] == summary["steps"] == 30 * 11
    validation = [[record["step"], record["accuracy"]] for record in records if record["part"] == "validation"]
    assert rows[GOOD]["curve"] == validation
    assert len(validation) == 30
    assert (rows[DIVERGING]["outcome"], rows[FAILING]["outcome"]) == ("diverged", "failed")
    assert (folder / "digits.png").read_bytes().startswith(b"\x89PNG")
    assert all((folder / name / "events.out.tfevents.hparams").is_file() for name in rows)

    (folder / FAILING / "checkpoints" / "step-000000010.npz").unlink()
    before = {name: (folder / name / "output.log").stat().st_mtime_ns for name in (GOOD, DIVERGING)}
    code, output = jobs.run(*command)
    assert code == 0, output
    assert "3 runs, 2 of them already done" in output
    assert "\n3 runs, 2 done, 1 diverged\n" in output
    assert before == {name: (folder / name / "output.log").stat().st_mtime_ns for name in (GOOD, DIVERGING)}

    code, output = jobs.run(*command, "--seed", 2)
    assert code == 2
    assert output.count("\n") == 1
    assert "holds a run with other settings: seed (1 there, 2 now)" in output


def test_several_workers_share_a_run(jobs, recipe: Path, tmp_path: Path) -> None:
    recipe.write_text("model: fcnn\nsteps: 3\n")
    code, output = jobs.run("jobs/sweep.py", "--recipe", recipe, "--sweep_dir", tmp_path / "sweep", "--workers", 2)
    assert code == 0, output
    environment = json.loads((tmp_path / "sweep" / "digits-fcnn-adam-0.001" / "environment.json").read_text())
    assert environment["topology"]["world_size"] == 2


def test_a_mistake_is_one_sentence_and_leaves_nothing(jobs, recipe: Path, tmp_path: Path) -> None:
    recipe.write_text("model: [fcnn, lenet55]\n")
    code, output = jobs.run("jobs/sweep.py", "--recipe", recipe, "--sweep_dir", tmp_path / "sweep")
    assert code == 2
    assert output.startswith(f"error: {recipe}, model lenet55: unknown model 'lenet55': choose one of fcnn, ")
    assert output.count("\n") == 1
    assert not (tmp_path / "sweep").exists()
