"""What a run says about its time, however it was interrupted, and what it names as its limit."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from cnn.monitoring.timing.goodput import ACTIVITIES, LOST, STOPPED, goodput
from cnn.runs.checkpoints import CheckpointFolder
from cnn.runs.time_record import read_times

from .processes import process_of_rank, until, wait_for

SIZE = ("--model", "lenet5-like", "--data", "digits", "--global_batch_size", 100)


def test_the_activities_of_an_interrupted_run_add_up_to_its_wall_time(jobs, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = ["jobs/train.py", *SIZE, "--run_dir", folder, "--save_every", 9]
    begin = time.time()
    job = jobs.start(*command, "--steps", 1_000_000, launcher="mpirun", workers=2)
    wait_for(CheckpointFolder(folder / "checkpoints").path(9), job)
    until(lambda: read_times(folder)[0].step % 9 > 3, job)
    os.kill(process_of_rank(0, folder), signal.SIGKILL)
    killed = time.time()
    job.communicate(timeout=60)
    (interrupted,) = read_times(folder)
    saved = CheckpointFolder(folder / "checkpoints").steps()[-1]
    code, output = jobs.run(*command, "--steps", interrupted.step + 9, "--resume", launcher="mpirun", workers=2)
    assert code == 0, output
    end = time.time()

    starts = read_times(folder)
    assert [(start.first_step, start.world_size) for start in starts] == [(0, 2), (saved, 2)]
    whole = goodput(starts)
    assert whole.lost_steps == starts[0].step - saved
    assert 0 < whole.seconds[LOST] < starts[0].trained
    assert begin <= starts[0].begin <= starts[0].end <= killed < starts[1].begin
    assert whole.seconds[STOPPED] == pytest.approx(starts[1].begin - starts[0].end)
    assert starts[1].end <= end
    summary = json.loads((folder / "summary.json").read_bytes())
    assert summary["goodput"]["seconds"].keys() == ACTIVITIES.keys()
    assert sum(summary["goodput"]["seconds"].values()) == pytest.approx(starts[1].end - starts[0].begin)

    code, output = jobs.run("jobs/report.py", folder)
    assert code == 0, output
    assert f"2 starts, {interrupted.step + 9:,} steps" in output
    assert re.search(rf"^{LOST} +{whole.seconds[LOST]:,.1f} s", output, re.MULTILINE)
    assert (folder / "goodput.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_a_record_of_its_times(jobs, tmp_path: Path) -> None:
    code, output = jobs.run("jobs/report.py", tmp_path)
    assert code == 2
    assert "holds no run" in output
    folder = tmp_path / "run"  # not tmp_path itself: beside it, other tests look for runs
    folder.mkdir()
    (folder / "settings.yaml").write_text("model: fcnn\n")
    code, output = jobs.run("jobs/report.py", folder)
    assert code == 2
    assert "has no record of its times" in output
    code, output = jobs.run("jobs/report.py")
    assert code == 2
    assert "--run_dir is missing" in output
