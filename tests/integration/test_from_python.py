"""Training from Python, as a script or a notebook does it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cnn.monitoring.records.metrics import read_metrics
from cnn.runs.checkpoints import CheckpointFolder
from cnn.runs.folder_lock import lock_folder

from .conftest import Jobs
from .preloaded import Preloaded
from .processes import until, wait_for

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/notebook.md").read_text()
CELLS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

TRAIN = """
import cnn, sys
cnn.train(model="lenet5-like", data="digits", run_dir=sys.argv[1], steps=1_000_000, save_every=5, workers={workers})
"""


Script = Callable[[str], Path]


@pytest.fixture
def jobs(cache: Path) -> Iterator[Jobs]:
    """Starts programs in processes that have imported nothing yet."""
    with Jobs(cache) as jobs:
        yield jobs


@pytest.fixture
def script(preloaded: Preloaded, tmp_path: Path) -> Script:
    """Writes a script, whose ranks are forked from what has imported the libraries."""

    def write(text: str) -> Path:
        path = tmp_path / "script.py"
        path.write_text(f"import sys\nsys.executable = {str(preloaded.script)!r}\n{text}")
        return path

    return write


def test_a_run_is_that_of_the_program(
    jobs: Jobs, cache: Path, preloaded: Preloaded, script: Script, tmp_path: Path
) -> None:
    settings = ["--model", "lenet5-like", "--data", "digits", "--epochs", "2", "--flip", "--dropout", "0.25"]
    code, output = Jobs(cache, preloaded).run("jobs/train.py", *settings, "--run_dir", tmp_path / "expected")
    assert code == 0, output
    text = f"""
import cnn, numpy as np
settings = dict(epochs=2, flip=True, dropout=0.25, run_dir={str(tmp_path / "run")!r}, steps=None)
result = cnn.train(model="lenet5-like", data="digits", workers=2, **settings)
np.savez({str(tmp_path / "curves.npz")!r}, tested=result.test_accuracy, **result.curves["validation"])
print(result)
"""
    code, output = jobs.run(script(text))
    assert code == 0, output
    assert "test images right" in output
    assert output.splitlines()[-1].startswith(
        f"TrainingResult(folder=PosixPath('{tmp_path / 'run'}'), test_accuracy=0."
    )
    expected = read_metrics(tmp_path / "expected" / "metrics.jsonl")
    curves = np.load(tmp_path / "curves.npz")
    assert curves["step"].tolist() == [record["step"] for record in expected if record["part"] == "validation"]
    accuracies = [record["accuracy"] for record in expected if record["part"] == "validation"]
    np.testing.assert_allclose(curves["accuracy"], accuracies, atol=0.02)
    assert 0.1 < curves["tested"] < 1


def test_a_folder_of_its_own_and_none_after_a_mistake(jobs: Jobs, script: Script, tmp_path: Path) -> None:
    text = f"""
import cnn, os, sys
from cnn.errors import UserError
os.chdir({str(tmp_path)!r})
for settings in (dict(data="digits", model="lenet6"), dict(data="digits", model="alexnet"), dict(workers=0)):
    try:
        cnn.train(**settings)
    except UserError as error:
        print("caught:", error)
assert not os.path.exists("runs") or not os.listdir("runs")
print(cnn.train(data="digits", model="fcnn", steps=1).folder)
assert "tensorflow" not in sys.modules
"""
    code, output = jobs.run(script(text))
    assert code == 0, output
    caught = [line for line in output.splitlines() if line.startswith("caught:")]
    assert caught[0].startswith("caught: unknown model 'lenet6'")
    assert caught[1].startswith("caught: alexnet cannot take images of 32x32 pixels")
    assert caught[2] == "caught: workers is 0: give a whole number of at least 1."
    assert "error: " not in output
    assert (tmp_path / output.splitlines()[-1] / "summary.json").exists()


def test_an_interrupt_stops_training_and_saves(jobs: Jobs, script: Script, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    checkpoints = CheckpointFolder(folder / "checkpoints")
    job = jobs.start(script(TRAIN.format(workers=2)), folder)
    wait_for(checkpoints.path(5), job)
    job.send_signal(signal.SIGINT)
    output, _ = job.communicate(timeout=60)
    assert job.returncode in (130, -signal.SIGINT), output
    said = re.search(
        r"stopped: at step ([\d,]+) of 1,000,000, which is saved; .* run_dir='(.*)' and resume=True", output
    )
    assert said, output
    assert said[2] == str(folder)
    assert checkpoints.steps()[-1] == int(said[1].replace(",", ""))
    assert output.rstrip().endswith("KeyboardInterrupt")
    lock = lock_folder(folder)
    assert lock is not None  # nobody trains on
    os.close(lock)


def test_training_ends_with_the_process_that_started_it(jobs: Jobs, script: Script, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    job = jobs.start(script(TRAIN.format(workers=1)), folder)
    wait_for(CheckpointFolder(folder / "checkpoints").path(5), job)
    assert lock_folder(folder) is None
    job.kill()
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    jobs.started.append(other)  # type: ignore[arg-type]
    locks: list[int] = []

    def is_free() -> bool:
        lock = lock_folder(folder)
        locks.extend([] if lock is None else [lock])
        return bool(locks)

    until(is_free, other)
    os.close(locks[0])


def test_an_error_is_raised_with_the_program_s_sentence(jobs: Jobs, script: Script, tmp_path: Path) -> None:
    text = f"""
import cnn
from cnn.errors import RunError
settings = dict(model="lenet5-like", optimizer="sgd", learning_rate=1e30, run_dir={str(tmp_path / "run")!r})
try:
    cnn.train(data="digits", **settings)
except RunError as error:
    print(type(error).__name__, error.exit_code, error)
"""
    code, output = jobs.run(script(text))
    assert code == 0, output
    assert re.search(r"^RunError 1 at step .* training has diverged; try a smaller", output, re.MULTILINE), output


def test_the_page_runs_in_a_notebook(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("CNN_CACHE_DIR", str(cache))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    wrong = 'cnn.train(data="digits", model="lenet6")'
    cells = [nbformat.v4.new_code_cell(cell) for cell in (*CELLS, wrong)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": tmp_path}}, allow_errors=True
    ).execute()
    trained, predicted, fitted, mistaken = (cell.outputs for cell in cells)
    assert [each.output_type for each in trained + predicted + fitted if each.output_type == "error"] == []
    [figure] = [each for each in trained if each.output_type == "display_data"]  # one, however often it was drawn
    assert "image/png" in figure.data
    assert not [each.text for each in predicted if each.get("name") == "stderr"]  # TensorFlow says nothing
    text = "".join(each.get("text", "") for each in trained + predicted + fitted)
    assert "test images right" in text
    assert "likeliest" in text
    assert "Epoch 5/5" in text
    [error] = mistaken
    assert error.ename == "UserError"
    assert len(error.traceback) == 1
    assert error.traceback[0].startswith("error: unknown model 'lenet6'")
