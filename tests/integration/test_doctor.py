"""The doctor under launchers, and what training does with ranks that are not alike."""

import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun --gloo"])
def test_workers_that_can_work_together(jobs, launcher: str) -> None:
    code, output = jobs.run("jobs/doctor.py", launcher=launcher, workers=2)
    assert code == 0, output
    assert len(re.findall(r"^(?:\[0\]<stdout>:)? +[01] \S+ +\d+ threads", output, re.MULTILINE)) == 2
    assert "verdict: 2 workers can work together" in output
    assert ("link " in output) == (launcher == "mpirun")


@pytest.mark.parametrize("program", ["jobs/doctor.py", "jobs/train.py"])
def test_other_code_on_one_rank_is_named(jobs, tmp_path: Path, program: str) -> None:
    """The second rank runs a copy of this package in which a comment was added."""
    for folder in ("cnn", "jobs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "cnn" / "errors.py", "a") as file:
        file.write("# mine\n")
    rest = ("--run_dir", tmp_path / "run") if program == "jobs/train.py" else ()
    other = (":", "-np", 1, "-x", f"PYTHONPATH={tmp_path}", sys.executable, tmp_path / program, *rest)
    code, output = jobs.run(program, *rest, *other, launcher="mpirun", workers=1)
    assert code != 0, output
    assert re.search(r"rank 1 \(on \S+\) differs from rank 0: code of cnn is \w{16} instead of \w{16}", output), output
    assert "verdict: 2 workers cannot work together" in output or program == "jobs/train.py"
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()
