"""The folder that a run gets."""

import os
from pathlib import Path

import pytest

from cnn.cluster.collectives import Cluster
from cnn.cluster.job import Job
from cnn.cluster.launch import launch_from_environment
from cnn.training.claimed_folder import begin_folder, claim_folder
from cnn.training.settings import TrainingSettings, parse_settings, read_settings


def test_runs_that_were_told_no_folder_each_get_their_own(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = parse_settings("", TrainingSettings, [])
    jobs = [Job(launch_from_environment({})) for _ in range(3)]
    folder = claim_folder(cluster, settings, jobs[0])
    assert not folder.parent.exists()  # until all that can be refused has been looked at
    begun = [begin_folder(cluster, folder, settings, job, {}) for job in jobs]
    assert begun == [folder, Path(f"{folder}-2"), Path(f"{folder}-3")]
    assert [job.folder for job in jobs] == begun
    assert [read_settings(each / "settings.yaml")["run_dir"] for each in begun] == [str(each) for each in begun]
    for job in jobs:
        assert job.lock is not None
        os.close(job.lock)
