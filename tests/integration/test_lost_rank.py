"""A rank is killed in mid-run: the others end and say why; resumed, the run ends as if nothing had happened."""

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint

from .processes import process_of_rank, wait_for


def train(folder: Path, steps: int, *more: object) -> list[object]:
    size = ("--model", "lenet5-like", "--global_batch_size", 100, "--save_every", 10)
    return ["jobs/train.py", "--data", "digits", *size, "--run_dir", folder, "--steps", steps, *more]


# Under mpirun test_faults does the same, among the other tests once.
@pytest.mark.parametrize(
    ("launcher", "workers"), [pytest.param("mpirun", 3, marks=pytest.mark.faults), ("horovodrun --gloo", 2)]
)
def test_killed_rank_ends_all_and_resume_gives_the_same_weights(
    jobs, tmp_path: Path, launcher: str, workers: int
) -> None:
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    checkpoints = CheckpointFolder(disturbed / "checkpoints")
    job = jobs.start(*train(disturbed, 1_000_000), launcher=launcher, workers=workers)
    wait_for(checkpoints.path(10), job)
    os.kill(process_of_rank(1, disturbed), signal.SIGKILL)
    killed = time.monotonic()
    output, _ = job.communicate(timeout=60)
    assert time.monotonic() - killed < 10
    assert job.returncode != 0
    reason = (disturbed / "failure.log").read_text()
    assert re.search(r"rank 1 \(process \d+ on \S+\) has exited", reason), output + reason
    assert "/cnn/" not in output, output  # a traceback of ours; launchers write their own

    steps = checkpoints.steps()[-1] + 15
    for folder, more in ((disturbed, ["--resume"]), (undisturbed, [])):
        code, output = jobs.run(*train(folder, steps, *more), launcher=launcher, workers=workers)
        assert code == 0, output
    resumed, _ = load_checkpoint(checkpoints.path(steps))
    straight, _ = load_checkpoint(CheckpointFolder(undisturbed / "checkpoints").path(steps))
    assert resumed.keys() == straight.keys()
    for name, values in straight.items():
        assert np.array_equal(resumed[name], values), name


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun --gloo"])
def test_a_rank_that_stands_still_ends_the_run_and_is_named(jobs, tmp_path: Path, launcher: str) -> None:
    folder = tmp_path / "run"
    stall = {"HOROVOD_STALL_CHECK_TIME_SECONDS": "1", "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "3"}
    job = jobs.start(*train(folder, 1_000_000), launcher=launcher, workers=3, **stall)
    wait_for(CheckpointFolder(folder / "checkpoints").path(10), job)
    os.kill(process_of_rank(1, folder), signal.SIGSTOP)
    output, _ = job.communicate(timeout=60)
    assert job.returncode != 0
    reason = (folder / "failure.log").read_text()
    assert re.search(r"rank 1 \(process \d+ on \S+\) is suspended", reason), output + reason
