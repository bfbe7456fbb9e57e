"""What a run leaves is used as users do: evaluated by any number of workers, asked about images, exported."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.monitoring.records.metrics import read_metrics
from cnn.runs.checkpoints import load_checkpoint
from cnn.settings.settings import read_settings

from .conftest import Jobs
from .preloaded import Preloaded

BATCH_SIZES = (1, 150, 1000)

EVALUATE = """
import sys
from pathlib import Path
from cnn.cluster.ranks.run_job import run_job
from cnn.trained.run_evaluation import EvaluationSettings, evaluate_run
from cnn.runs.saved_run import NetworkSettings

run, results = sys.argv[1], Path(sys.argv[2])

def body(cluster, settings, job):
    for size in map(int, sys.argv[3:]):
        evaluate_run(cluster, NetworkSettings(run_dir=run), EvaluationSettings(part="train", batch_size=size))
        if cluster.is_chief:
            written = Path(run).glob("evaluation-train-*.json")
            [*written][0].rename(results / f"{cluster.world_size}-{size}.json")

run_job(lambda: None, body)
"""


@pytest.fixture(scope="module")
def run(cache: Path, preloaded: Preloaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeNet-5 that has learned something, and not all."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    code, output = Jobs(cache, preloaded).run(
        "jobs/train.py", "--data", "digits", "--model", "lenet5-like", "--epochs", 2, "--run_dir", folder
    )
    assert code == 0, output
    return folder


def test_neither_workers_nor_batch_size_change_an_evaluation(jobs: Jobs, run: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(EVALUATE)
    for workers in (1, 3):
        launcher = "none" if workers == 1 else "mpirun"
        code, output = jobs.run(program, run, tmp_path, *BATCH_SIZES, launcher=launcher, workers=workers)
        assert code == 0, output
        assert output.count("train images right") == len(BATCH_SIZES)  # one rank speaks
    first = (tmp_path / "1-1.json").read_bytes()
    for workers in (1, 3):
        for size in BATCH_SIZES:
            assert (tmp_path / f"{workers}-{size}.json").read_bytes() == first, (workers, size)
    result = json.loads(first)
    assert result["count"] == 1293 == np.sum(result["confusion"])  # 1,438 without the validation part
    assert 0.2 < result["accuracy"] < 0.99
    assert result["correct"] < result["top5"] <= 1293


def test_workers_do_not_change_an_evaluation_of_other_images(jobs: Jobs, run: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for label in range(9):  # of nine classes; one file is no image
        (tmp_path / "other" / str(label)).mkdir(parents=True)
        for number in range(35):
            pixels = random.integers(0, 256, (4, 4), np.uint8).repeat(5, 0).repeat(5, 1)
            Image.fromarray(pixels).save(tmp_path / "other" / str(label) / f"{number}.png")
    (tmp_path / "other" / "4" / "7.png").write_text("none")
    written = []
    for workers in (1, 2, 3):
        code, output = jobs.run(
            *("jobs/evaluate.py", "--run_dir", run, "--class_folders", tmp_path / "other"),
            launcher="none" if workers == 1 else "mpirun",
            workers=workers,
        )
        assert code == 0, output
        assert output.count("warning: no images of these classes") == 1
        assert output.count("warning: 1 image file left out") == 1
        [path] = run.glob("evaluation-of-other-*.json")
        written.append(path.read_bytes())
        path.unlink()
    assert json.loads(written[0])["count"] == 314
    assert written == 3 * written[:1]


def test_evaluation_reproduces_the_test_result_of_training(jobs: Jobs, run: Path) -> None:
    code, output = jobs.run("jobs/evaluate.py", "--run_dir", run, launcher="horovodrun --gloo", workers=2)
    assert code == 0, output
    summary = json.loads((run / "summary.json").read_text())
    result = json.loads((run / f"evaluation-test-{summary['best_step']:09d}.json").read_text())
    assert (result["correct"], result["count"]) == (summary["test_correct"], summary["test_count"])
    assert result["loss"] == summary["test_loss"]


def test_a_mistake_is_reported_by_one_rank(jobs: Jobs, run: Path) -> None:
    code, output = jobs.run("jobs/evaluate.py", "--run_dir", run, "--checkpoint", 4, launcher="mpirun", workers=2)
    assert code == 2, output
    assert output.count("error: ") == 1
    assert f"unknown checkpoint of {run} '4': choose one of best, last, 11, 22." in output
    assert "Traceback" not in output


def test_predictions_and_what_is_no_image(jobs: Jobs, run: Path, tmp_path: Path) -> None:
    pixels = np.zeros((50, 40), np.uint8)
    pixels[10:40, 17:23] = 255  # a one, more or less
    Image.fromarray(pixels).save(tmp_path / "stroke.png")
    command = ["jobs/predict.py", "--run_dir", run, "--images", tmp_path, "--output", tmp_path / "out"]
    code, output = jobs.run(*command)
    assert code == 0, output
    assert output.startswith("image ")
    assert len(output.splitlines()) == 4  # nothing of TensorFlow's
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"predictions.{end}" for end in ("csv", "json", "png")
    }

    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    code, output = jobs.run(*command[:3], "--images", bad, "--output", tmp_path / "other")
    assert (code, output) == (
        2,
        f"error: no readable image: {bad} (a text file); name other files.\n",
    )
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_prediction_keeps_earlier_results_and_its_rows(
    jobs: Jobs, run: Path, tmp_path: Path, ending: signal.Signals, code: int
) -> None:
    (tmp_path / "images").mkdir()
    first = tmp_path / "images" / "00000.png"
    Image.fromarray(np.arange(784, dtype=np.uint16).reshape(28, 28).astype(np.uint8)).save(first)
    for number in range(1, 30_000):
        os.link(first, first.with_name(f"{number:05}.png"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "predictions.csv").write_text("earlier")
    unfinished = out / "predictions.csv.unfinished"
    job = jobs.start("jobs/predict.py", "--run_dir", run, "--images", first.parent, "--output", out)
    assert job.stdout is not None
    lines = [next(job.stdout) for _ in range(100)]  # they come while it runs
    assert f"{first}  " in lines[1]
    job.send_signal(ending)
    output = job.stdout.read()
    assert job.wait() == code
    rows = unfinished.read_text().splitlines()
    assert 100 <= len(rows) - 1 < 30_000
    told = [line for line in output.splitlines() if "images/" not in line]
    assert told[0] == f"{unfinished} holds the {len(rows) - 1:,} predictions made so far."
    assert told[1:] == (["error: ended by SIGINT; run it again to predict all images."] if code == 130 else [])
    assert (out / "predictions.csv").read_text() == "earlier"


def test_a_fine_tuned_run_without_a_checkpoint_begins_again_as_it_began(
    jobs: Jobs, run: Path, cache: Path, tmp_path: Path
) -> None:
    """And one with a checkpoint goes on from it to the bits of an undisturbed run."""
    shutil.copytree(run, tmp_path / "base")
    tuned = tmp_path / "tuned"
    command = ["jobs/train.py", "--data", "digits", "--model", "lenet5-like", "--epochs", 1, "--run_dir", tuned]
    command += ["--freeze", "conv[12]", "--head_learning_rate", 0.005]

    def train(*more: object) -> tuple[int, str]:
        return jobs.run(*command, *more, launcher="mpirun", workers=2)

    def losses() -> list[float]:
        return [record["loss"] for record in read_metrics(tuned / "metrics.jsonl")]

    code, output = train("--initialize_from", tmp_path / "base")
    assert code == 0, output
    first = losses()
    before, after = (np.load(folder / "checkpoints" / "best.npz") for folder in (tmp_path / "base", tuned))
    for layer in ("conv1", "conv2", "fc1", "logits"):
        path = f"model/{layer}/kernel"
        assert np.array_equal(before[path], after[path]) == layer.startswith("conv")
    shutil.rmtree(tuned / "checkpoints")  # as if it had been killed before
    code, output = train("--resume")
    assert code == 0, output
    assert f"starts with the weights of {tmp_path / 'base'} after step" in output
    assert losses() == first
    assert read_settings(tuned / "settings.yaml")["initialize_from"] == str(tmp_path / "base")

    code, output = train("--resume", "--epochs", 2)
    assert code == 0, output
    assert "starts with" not in output
    assert read_settings(tuned / "settings.yaml")["initialize_from"] == str(tmp_path / "base")
    assert json.loads((tuned / "environment.json").read_text())["origin"]["folder"] == str(tmp_path / "base")
    straight = tmp_path / "straight"
    code, output = train("--initialize_from", tmp_path / "base", "--epochs", 2, "--run_dir", straight)
    assert code == 0, output
    resumed, undisturbed = (
        load_checkpoint(folder / "checkpoints" / "step-000000022.npz")[0] for folder in (tuned, straight)
    )
    assert any(name.startswith("optimizer/") for name in undisturbed)
    for name, values in undisturbed.items():
        assert resumed[name].tobytes() == values.tobytes(), name

    shutil.rmtree(tuned / "checkpoints")
    os.replace(tmp_path / "base" / "checkpoints" / "step-000000011.npz", tmp_path / "base" / "checkpoints" / "best.npz")
    code, output = train("--resume")
    assert code == 2, output
    assert "are not those that" in output


def test_an_export_and_no_run(jobs: Jobs, run: Path, tmp_path: Path) -> None:
    code, output = jobs.run("jobs/export.py", "--run_dir", run, "--output", tmp_path / "out")
    assert code == 0, output
    assert len(output.splitlines()) == 1
    assert (tmp_path / "out" / "network.keras").exists()
    folder = tmp_path / "alone" / "empty"  # beside no run of another test, which the sentence would name
    folder.mkdir(parents=True)
    for program in ("predict", "export"):
        more = ("--images", tmp_path) if program == "predict" else ()
        code, output = jobs.run(f"jobs/{program}.py", "--run_dir", folder, *more)
        assert (code, output) == (
            2, f"error: {folder} holds no run: name a folder that jobs/train.py has written.\n",
        )  # fmt: skip
