"""A run that is asked to stop saves the step it is at, and goes on from there as if it had not been stopped."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint
from cnn.runs.folder_lock import lock_folder

from .processes import process_of_rank, until, wait_for


def train(folder: Path, steps: int, *more: object) -> list[object]:
    size = ("--model", "lenet5-like", "--global_batch_size", 100, "--save_every", 7)
    return ["jobs/train.py", "--data", "digits", *size, "--run_dir", folder, "--steps", steps, *more]


@pytest.mark.parametrize(
    ("launcher", "workers", "number", "code", "exchange"),
    [
        ("none", 1, signal.SIGINT, 75, "factored"),
        ("mpirun", 2, signal.SIGTERM, 75, "sharded"),
        pytest.param("horovodrun --gloo", 2, signal.SIGUSR1, 75, "factored", marks=pytest.mark.faults),
    ],
)
def test_one_rank_is_asked_and_all_stop(
    jobs, tmp_path: Path, launcher: str, workers: int, number: signal.Signals, code: int, exchange: str
) -> None:
    stopped, straight = tmp_path / "stopped", tmp_path / "straight"
    checkpoints = CheckpointFolder(stopped / "checkpoints")
    how = ("--exchange", exchange)
    job = jobs.start(*train(stopped, 1_000_000, *how), launcher=launcher, workers=workers)
    wait_for(checkpoints.path(7), job)
    recorded = read_exchange(stopped)
    assert recorded[exchange] == ([] if workers == 1 else ["fc1/kernel", "fc2/kernel", "logits/kernel"])
    assert lock_folder(stopped) is None  # nobody else may go on with it meanwhile
    os.kill(job.pid if launcher == "none" else process_of_rank(workers - 1, stopped), number)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == code, output
    said = re.search(
        r"stopped: at step ([\d,]+) of 1,000,000, which is saved; resume with `(.*)`$", output, re.MULTILINE
    )
    assert said, output
    assert "error:" not in output
    assert "Traceback" not in output, output
    assert said[2].endswith(f"python jobs/train.py --config {stopped}/settings.yaml --resume")
    step = int(said[1].replace(",", ""))
    assert checkpoints.steps()[-1] == step

    for folder, more in ((stopped, ["--resume"]), (straight, [])):
        code, output = jobs.run(*train(folder, step + 15, *how, *more), launcher=launcher, workers=workers)
        assert code == 0, output
    assert read_exchange(stopped) == recorded  # not measured again
    resumed, _ = load_checkpoint(checkpoints.path(step + 15))
    undisturbed, _ = load_checkpoint(CheckpointFolder(straight / "checkpoints").path(step + 15))
    assert resumed.keys() == undisturbed.keys()
    for name, values in undisturbed.items():
        assert np.array_equal(resumed[name], values), name
    for part in ("train", "validation"):
        assert curve(stopped, part) == curve(straight, part)


def read_exchange(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "environment.json").read_text())["topology"]["exchange"])


def curve(folder: Path, part: str) -> list[str]:
    """A part's points without times and speeds."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [re.sub(r', "(images_per_second|time)": [^,}]*', "", line) for line in lines if f'"{part}"' in line]


def test_a_second_signal_ends_at_once(jobs, tmp_path: Path) -> None:
    """Which comes here while the network is compiled, long before the first step ends."""
    folder = tmp_path / "run"
    slow = ("--model", "resnet18-32", "--data", "digits", "--global_batch_size", 100, "--steps", 1000)
    job = jobs.start("jobs/train.py", *slow, "--run_dir", folder)
    output = ""
    for awaited in ("compiling the first step", "a second signal ends the job immediately"):
        while awaited not in output:
            output += job.stdout.readline()
            assert job.poll() is None, output
        job.send_signal(signal.SIGTERM)
    until(lambda: job.send_signal(signal.SIGTERM) or job.poll() is not None, job)
    assert job.returncode == 128 + signal.SIGTERM
    assert "error: ended by SIGTERM; resume with `" in output + job.stdout.read()
    assert not (folder / "checkpoints").exists()

    code, output = jobs.run("jobs/train.py", *train(folder, 5)[1:], "--resume")
    assert code == 2
    assert "was made with other settings" in output


def test_a_run_ended_before_its_first_checkpoint_begins_anew(jobs, tmp_path: Path) -> None:
    """With --resume too, so that the command to start it again need not know how far it came."""
    stopped, straight = tmp_path / "stopped", tmp_path / "straight"
    job = jobs.start(*train(stopped, 20))
    wait_for(stopped / "settings.yaml", job)
    job.kill()
    job.communicate()
    for folder, more in ((stopped, ["--resume"]), (straight, [])):
        code, output = jobs.run(*train(folder, 20, *more))
        assert code == 0, output
        assert "--resume --steps 40\n" in output  # what it says is next
    assert curve(stopped, "train") == curve(straight, "train")


@pytest.mark.parametrize(("launcher", "workers"), [("none", 1), ("mpirun", 2)])
def test_after_its_time_a_run_stops_as_if_asked(jobs, tmp_path: Path, launcher: str, workers: int) -> None:
    folder = tmp_path / "run"
    limited = (*train(folder, 1_000_000), "--stop_after", "1s")
    for more, earlier in (([], 0), (["--resume"], 1)):
        code, output = jobs.run(*limited, *more, launcher=launcher, workers=workers)
        assert code == 75, output
        assert output.count("--stop_after 1s: the time is over") == 1
        said = re.search(r"stopped: at step ([\d,]+) of 1,000,000, which is saved; resume with `.* --resume`", output)
        assert said, output
        step = int(said[1].replace(",", ""))
        assert step >= earlier
        assert CheckpointFolder(folder / "checkpoints").steps()[-1] == step
