"""Run folders of strangers: whatever a program writes into one, nothing outside it is changed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import ENVIRONMENT, ROOT, SECONDS, Jobs
from .preloaded import Preloaded

WATCH = """
import os
import sys

def watch(event, arguments, watched=os.environ.get("WATCHED"), log=os.environ.get("LOG")):
    if event != "open" or not watched or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return
    path, flags = os.path.abspath(os.fsdecode(arguments[0])), arguments[2]
    if path.startswith(watched + os.sep) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND):
        safe = flags & os.O_NOFOLLOW
        line = f"{'safe' if safe else 'FOLLOWS LINKS'} {os.path.relpath(path, watched)}\\n"
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)

sys.addaudithook(watch)
"""
"""Sees each file that Python opens for writing; what others write, TensorFlow say, is in new folders of their own."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "image.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)
    return path


def uses(run: Path, image: Path) -> dict[str, tuple[object, ...]]:
    """What is done with a run that has trained for an epoch."""
    return {
        "resume": ("jobs/train.py", "--model", "fcnn", "--epochs", 2, "--run_dir", run, "--resume"),
        "evaluate": ("jobs/evaluate.py", "--run_dir", run),
        "predict": ("jobs/predict.py", "--run_dir", run, "--images", image),
        "export": ("jobs/export.py", "--run_dir", run),
    }


@pytest.fixture
def watched_jobs(cache: Path, tmp_path: Path) -> Iterator[Jobs]:
    """Starts programs whose files opened for writing below runs/ are listed in the file log."""
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    watched = {"WATCHED": str(tmp_path / "runs"), "LOG": str(tmp_path / "log")}
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{tmp_path}:{ROOT}", **watched}
    with Preloaded(tmp_path / "socket", environment, SECONDS) as preloaded, Jobs(cache, preloaded) as jobs:
        yield jobs


def test_no_file_is_opened_for_writing_where_a_link_would_be_followed(
    watched_jobs: Jobs, image: Path, tmp_path: Path
) -> None:
    runs, log = tmp_path / "runs", tmp_path / "log"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("{model: fcnn, data: digits, epochs: 1}")
    train = ("jobs/train.py", "--model", "fcnn", "--epochs", 1, "--run_dir", runs / "a")
    sweep = ("jobs/sweep.py", "--recipe", recipe, "--sweep_dir", runs / "sweep")
    (runs / "proof").mkdir(parents=True)
    prove = ("jobs/prove.py", "--models", "fcnn", "--workers", 1, "--output", runs / "proof")
    for command in (train, *uses(runs / "a", image).values(), sweep, prove):
        code, output = watched_jobs.run(*command)
        assert code == 0, output
    opened = log.read_text().splitlines()
    assert len(opened) > 30
    inside_exports = [line for line in opened if "export-" in line]  # written by Keras, in a folder that is new
    assert not [line for line in opened if not line.startswith("safe ") and line not in inside_exports]


def test_a_run_folder_in_which_every_file_is_a_link(jobs: Jobs, image: Path, tmp_path: Path) -> None:
    run, copy = tmp_path / "run", tmp_path / "copy"
    code, output = jobs.run("jobs/train.py", "--model", "fcnn", "--epochs", 1, "--run_dir", run)
    assert code == 0, output
    for command in list(uses(run, image).values())[1:3]:
        assert jobs.run(*command)[0] == 0
    (run / "failure.log").write_text("a reason\n")
    shutil.copytree(run, copy)
    names = [path.relative_to(run) for path in sorted(run.rglob("*")) if path.is_file()]
    assert len(names) > 15
    for name in names:
        (run / name).unlink()
        (run / name).symlink_to(copy / name)
    for name in (".settings.yaml.tmp", "predictions/predictions.csv.unfinished", "checkpoints/best.npz.unfinished"):
        (run / name).symlink_to(copy / "failure.log")
    before = {name: (copy / name).read_bytes() for name in names}

    code, output = jobs.run(*uses(run, image)["resume"])
    assert (code, output) == (2, f"error: {run / '.lock'} is a link, {output.partition('is a link, ')[2]}")
    (run / ".lock").unlink()
    for command in uses(run, image).values():
        code, output = jobs.run(*command)
        assert code == 0, output
    assert json.loads((run / "summary.json").read_text())["epochs"] == 2
    assert before == {name: (copy / name).read_bytes() for name in names}
