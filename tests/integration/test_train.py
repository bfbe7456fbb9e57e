"""Whole runs on real digits: what is left of one, and that neither workers nor a resume change it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from cnn.monitoring.records.metrics import read_metrics
from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint
from cnn.settings.settings import read_settings

IMAGES = ("--data", "digits", "--crop", "pad", "--flip", "--mixup", 0.2)
SETTINGS = (*IMAGES, "--model", "lenet5-like", "--precision", "float64", "--group_size", 10, "--global_batch_size", 90)
"""Five groups a step for one of two workers and four for the other; 15 steps an epoch of 1,294 digits, of 1,438 without
the validation part."""


def last(folder: Path) -> dict[str, np.ndarray]:
    checkpoints = CheckpointFolder(folder / "checkpoints")
    return load_checkpoint(checkpoints.path(checkpoints.steps()[-1]))[0]


def evaluations(folder: Path) -> list[tuple[str, int, float]]:
    records = read_metrics(folder / "metrics.jsonl")
    return [(record["part"], record["step"], record["accuracy"]) for record in records if record["part"] != "train"]


def assert_whole(folder: Path, workers: int, output: str) -> None:
    """The run folder holds all that is promised, and the output says so."""
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    assert (settings["data"], settings["model"], settings["epochs"]) == ("digits", "lenet5-like", 2)
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["topology"]["world_size"] == workers == len(environment["topology"]["hosts"])
    assert {"python", "tensorflow-cpu", "keras", "numpy", "horovod"} <= environment["versions"].keys() | {
        "tensorflow-cpu"
    }
    assert len(environment["data_checksum"]) == 64
    metrics = read_metrics(folder / "metrics.jsonl")
    steps = {part: [record["step"] for record in metrics if record["part"] == part] for part in ("train", "validation")}
    assert steps == {"train": [10, 15, 20, 30], "validation": [15, 30]}
    assert [record["part"] for record in metrics][-1] == "test"
    assert all(0 <= record["accuracy"] <= 1 and np.isfinite(record["loss"]) for record in metrics)
    assert any(folder.glob("events.out.tfevents.*"))
    checkpoints = CheckpointFolder(folder / "checkpoints")
    assert checkpoints.steps() == [15, 30]
    _, record = load_checkpoint(checkpoints.best)
    summary = json.loads((folder / "summary.json").read_text())
    assert record["progress"]["step"] == summary["best_step"]
    assert record["settings"] == settings
    assert (summary["world_size"], summary["steps"], summary["epochs"], summary["test_count"]) == (workers, 30, 2, 359)
    assert summary["test_accuracy"] == summary["test_correct"] / 359
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert not (folder / "failure.log").exists()
    assert f"{summary['test_correct']:,} of 359 test images right" in " ".join(output.split())
    assert output.count("test images right") <= 1  # one rank speaks
    assert "Traceback" not in output
    assert "Warning" not in output


def test_neither_workers_nor_a_resume_change_a_run(jobs, tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    code, output = jobs.run("jobs/train.py", *SETTINGS, "--run_dir", straight, "--epochs", 2)
    assert code == 0, output
    assert_whole(straight, 1, output)
    expected = last(straight)

    for epochs, more in ((1, []), (2, ["--resume"])):
        code, output = jobs.run("jobs/train.py", *SETTINGS, "--run_dir", resumed, "--epochs", epochs, *more)
        assert code == 0, output
        assert "same bits" not in output
    again = last(resumed)
    assert again.keys() == expected.keys()
    for name, values in expected.items():
        assert again[name].tobytes() == values.tobytes(), name
    # The first run's test is of its end, and is gone with what it was followed by.
    assert [each for each in evaluations(resumed) if each[0] == "validation"] == evaluations(straight)[:2]
    assert evaluations(resumed)[-1] == evaluations(straight)[-1]

    initial = {name: values for name, values in expected.items() if name.startswith("model/")}
    assert len(initial) == 10
    of_two = []
    for launcher, more in (("mpirun", []), ("horovodrun --gloo", ["--resident_mb", 0])):
        folder = tmp_path / f"{launcher}\n '$(touch pwned)\" caf\udce9"  # what no shell may see, and no UTF-8
        command = ("jobs/train.py", *SETTINGS, *more, "--run_dir", folder, "--epochs", 2)
        code, output = jobs.run(*command, launcher=launcher, workers=2)
        assert code == 0, output
        assert_whole(folder, 2, output)
        assert not Path("pwned").exists()
        assert evaluations(folder) == evaluations(straight)
        weights = last(folder)
        for name, values in initial.items():
            assert np.linalg.norm(weights[name] - values) <= 1e-9 * np.linalg.norm(values), name
        of_two.append(weights)
    # The sum of two gradients is the same by whatever way; one run had its images in memory, and one read them.
    resident, streamed = of_two
    assert streamed.keys() == resident.keys()
    for name, values in resident.items():
        assert streamed[name].tobytes() == values.tobytes(), name


def test_a_run_says_how_far_it_came_whatever_it_was_asked_since(jobs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    size = ("--model", "fcnn", "--data", "digits", "--run_dir", run)
    code, output = jobs.run("jobs/train.py", *size, "--epochs", 2)
    assert code == 0, output
    before = {each: each.read_bytes() for each in run.rglob("*") if each.is_file() and each.name != ".lock"}
    code, output = jobs.run("jobs/train.py", *size, "--epochs", 1, "--resume")
    assert code == 2, output
    told = "has done 22 steps (2 epochs), but --epochs 1 is 11: give --epochs 2 or more"
    assert output.startswith(f"error: {run} {told}"), output
    assert before == {each: each.read_bytes() for each in run.rglob("*") if each.is_file() and each.name != ".lock"}
    code, output = jobs.run("jobs/train.py", *size, "--epochs", 3, "--log_every", 4, "--resume")
    assert code == 0, output
    settings = read_settings(run / "settings.yaml")
    assert (settings["epochs"], settings["log_every"]) == (3, 4)
    code, output = jobs.run("jobs/prove.py", "--replay", run)
    assert code == 0, output


@pytest.mark.parametrize("part", ["validation", "none"])
def test_a_last_step_that_diverges_is_no_result(jobs, tmp_path: Path, part: str) -> None:
    """Its weights are finite, and what they give is not: no step follows whose loss would tell it."""
    size = ("--data", "digits", "--model", "lenet5-like", "--steps", 1, "--optimizer", "sgd", "--learning_rate", 1e38)
    fraction = ("--validation_fraction", 0) if part == "none" else ()
    run = tmp_path / "run"
    code, output = jobs.run("jobs/train.py", *size, *fraction, "--run_dir", run, launcher="mpirun", workers=2)
    assert (code, output.count("error: "), "Traceback" in output) == (1, 1, False), output
    assert "error: at step 1 the network's logits have become infinite or not a number: training has diverged" in output
    assert not (run / "summary.json").exists()
    assert not [*run.glob("checkpoints/*")]


def test_deterministic_kernels_on_processors(jobs, tmp_path: Path) -> None:
    settings = (*IMAGES, "--model", "fcnn", "--steps", 2, "--deterministic", "--run_dir", tmp_path)
    code, output = jobs.run("jobs/train.py", *settings, launcher="mpirun", workers=2)
    assert code == 0, output


@pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="a lone core has no other number of threads")
def test_a_resume_by_other_threads_says_that_bits_will_differ(jobs, tmp_path: Path) -> None:
    core, folder = str(min(os.sched_getaffinity(0))), tmp_path / "run"
    command = ("jobs/train.py", *SETTINGS, "--run_dir", folder, "--steps")
    code, output = jobs.run(*command, 2, within=("taskset", "-c", core))
    assert code == 0, output
    assert "same bits" not in output
    code, output = jobs.run(*command, 4, "--resume")
    assert code == 0, output
    threads = len(os.sched_getaffinity(0))
    assert f"rank 0 has threads {threads} (before: 1): the result will not have the same bits" in output
    code, output = jobs.run(*command, 6, "--resume")
    assert code == 0, output
    assert "same bits" not in output


def test_a_run_without_a_better_result_ends_early_and_what_it_proposes_works(jobs, tmp_path: Path) -> None:
    """A rate that changes nothing: the first evaluation stays the best. The rates depend on the length of the run."""
    folder = tmp_path / "run"
    slow = ("--data", "digits", "--model", "fcnn", "--learning_rate", 1e-30, "--schedule", "cosine", "--epochs", 9)
    code, output = jobs.run(
        "jobs/train.py", *slow, "--patience", 1, "--class_table", "--run_dir", folder, launcher="mpirun", workers=2
    )
    assert code == 0, output
    told = " ".join(output.split())
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["epochs"], summary["best_step"], summary["ended_early"]) == (2, summary["steps"] // 2, True)
    assert (
        f"It ended early: in 1 epoch no validation result was better than that of step {summary['best_step']}" in told
    )
    table = output[output.index("class ") :].splitlines()[1:11]
    assert sum(int(row.split()[2]) for row in table) == summary["test_correct"]
    assert sum(int(row.split()[1]) for row in table) == summary["test_count"]

    [proposed] = [line for line in output.splitlines() if "--patience" in line]
    code, output = jobs.run("jobs/train.py", *proposed[proposed.index("--config") :].split())
    assert code == 0, output
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["epochs"], summary["ended_early"]) == (3, True)


def test_patience_without_a_validation_part(jobs, tmp_path: Path) -> None:
    settings = ("--data", "digits", "--model", "fcnn", "--validation_fraction", 0, "--patience", 2)
    code, output = jobs.run("jobs/train.py", *settings, "--run_dir", tmp_path / "run", launcher="mpirun", workers=2)
    assert code == 2, output
    assert output.count("error: --patience 2 counts epochs without a better result on the validation part") == 1
    assert not (tmp_path / "run").exists()
