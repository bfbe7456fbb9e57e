from pathlib import Path

from cnn.cluster.job import Job
from cnn.cluster.launch import ALONE


def test_what_can_be_resumed_is_what_has_a_run_folder() -> None:
    job = Job(ALONE)
    assert job.advice == "start it again"
    job.folder = Path("runs/a")
    assert job.advice == "go on with --resume"


def test_any_reason_is_recorded(tmp_path: Path) -> None:
    job = Job(ALONE)
    job.folder = tmp_path
    job.record("caf\udce9 is gone")
    assert (tmp_path / "failure.log").read_text().endswith(": caf\\udce9 is gone\n")
