"""How a run starts, and the folder that it gets."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cnn.cluster.launchers.process import launch_from_environment
from cnn.cluster.ranks.collectives import Cluster
from cnn.cluster.ranks.job import Job
from cnn.errors import UserError
from cnn.runs.checkpoints import Checkpoint, CheckpointFolder, save_checkpoint
from cnn.runs.loop_state import LoopState
from cnn.runs.run_folder import start_folder
from cnn.runs.start import Carried, claim_folder, decide_start
from cnn.settings.settings import TrainingSettings, parse_settings, read_settings

RECORD = {"data_checksum": "abc", "exchange": {"world_size": 1}, "progress": LoopState(step=9).record()}


@pytest.fixture
def make_job() -> Iterator[Callable[[], Job]]:
    """Makes jobs, whose locks are released in the end."""
    jobs: list[Job] = []

    def make() -> Job:
        jobs.append(Job(launch_from_environment({})))
        return jobs[-1]

    yield make
    for job in jobs:
        if job.carried is not None and job.carried.lock is not None:
            os.close(job.carried.lock)


def asked(*arguments: object) -> TrainingSettings:
    return parse_settings("", TrainingSettings, ["--model", "lenet5", *map(str, arguments)])


def begun(folder: Path, *, step: int | None = 9) -> Path:
    """A run's folder, with a checkpoint or without."""
    start_folder(folder, asked("--run_dir", folder).merged)
    if step is not None:
        (folder / "checkpoints").mkdir()
        save_checkpoint(CheckpointFolder(folder / "checkpoints").path(step), {"a": np.zeros(1)}, RECORD)
    return folder


def test_runs_that_were_told_no_folder_each_get_their_own(
    cluster: Cluster, make_job: Callable[[], Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = [make_job() for _ in range(3)]
    start = decide_start(cluster, asked(), jobs[0])
    assert start.how == "fresh"
    assert not start.folder.parent.exists()  # until all that can be refused has been looked at
    folders = [claim_folder(cluster, start, job, {}) for job in jobs]
    assert folders == [start.folder, Path(f"{start.folder}-2"), Path(f"{start.folder}-3")]
    assert [job.folder for job in jobs] == folders
    assert [read_settings(each / "settings.yaml")["run_dir"] for each in folders] == [str(each) for each in folders]


@pytest.mark.parametrize("resume", [("--resume",), ("--resume", "auto"), ("--resume=auto",)])
@pytest.mark.parametrize("step", [9, None])
def test_a_run_that_was_begun_is_resumed(
    cluster: Cluster, make_job: Callable[[], Job], tmp_path: Path, resume: tuple[str, ...], step: int | None
) -> None:
    folder = begun(tmp_path / "run", step=step)
    start = decide_start(cluster, asked("--run_dir", folder, *resume), make_job())
    assert (start.how, start.folder, start.has_checkpoint) == ("resumed", folder, step is not None)
    assert (start.checkpoint is not None) == start.has_checkpoint
    assert start.exchange == (None if step is None else RECORD["exchange"])


def test_auto_begins_where_there_is_no_run(cluster: Cluster, make_job: Callable[[], Job], tmp_path: Path) -> None:
    job, folder = make_job(), tmp_path / "run"
    start = decide_start(cluster, asked("--run_dir", folder, "--resume", "auto"), job)
    assert start.how == "fresh"
    assert claim_folder(cluster, start, job, {}) == folder
    assert read_settings(folder / "settings.yaml")["resume"] is False  # so that others can repeat it
    assert decide_start(cluster, asked("--run_dir", folder, "--resume", "auto"), make_job_after(job)).how == "resumed"


def make_job_after(job: Job) -> Job:
    """A new process, once another has ended."""
    os.close(job.carried.lock)
    job.carried.lock = None
    return Job(launch_from_environment({}))


def test_what_is_no_start_is_refused(cluster: Cluster, make_job: Callable[[], Job], tmp_path: Path) -> None:
    one, two = begun(tmp_path / "one"), begun(tmp_path / "two")
    for arguments, sentence in (
        (("--run_dir", one), "already holds a run"),
        (("--run_dir", one, "--resume", "--seed", 2), "was made with other settings: seed"),
        (("--run_dir", two, "--resume", "auto", "--seed", 2), "was made with other settings: seed"),
        (("--run_dir", tmp_path / "none", "--resume"), "--resume found no run"),
    ):
        with pytest.raises(UserError, match=sentence):
            decide_start(cluster, asked(*arguments), make_job())


def test_after_a_change_of_workers_what_they_kept_counts(
    cluster: Cluster, make_job: Callable[[], Job], tmp_path: Path
) -> None:
    job, folder, settings = make_job(), tmp_path / "run", asked("--run_dir", tmp_path / "run")
    claim_folder(cluster, decide_start(cluster, settings, job), job, {})
    again = decide_start(cluster, settings, job)  # lost before there was anything to keep
    assert (again.how, again.checkpoint) == ("rejoined", None)
    kept = Checkpoint(path=Path("memory"), arrays={}, record=RECORD)
    job.carried.checkpoint = kept
    again = decide_start(cluster, settings, job)
    assert (again.how, again.folder, again.checkpoint) == ("rejoined", folder, kept)
    lock = job.carried.lock
    assert claim_folder(cluster, again, job, {}) == folder
    assert job.carried.lock == lock


def test_workers_that_change_before_the_folder_is_made_begin_anew_in_it(
    cluster: Cluster, make_job: Callable[[], Job], tmp_path: Path
) -> None:
    job, folder = make_job(), tmp_path / "run"
    job.carried = Carried(folder=folder)
    start = decide_start(cluster, asked(), job)
    assert (start.how, start.folder) == ("fresh", folder)
    assert claim_folder(cluster, start, job, {}) == folder
    assert read_settings(folder / "settings.yaml")["run_dir"] == str(folder)
