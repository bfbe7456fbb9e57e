import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cnn.cluster.launchers.process import ALONE
from cnn.cluster.ranks.job import Job


def test_the_advice_is_the_command_that_resumes_once_there_is_something_to_resume() -> None:
    job = Job(ALONE)
    job.folder = Path("runs/a")
    assert job.advice == "start it again"
    job.resume_command = "python jobs/train.py --config runs/a/settings.yaml --resume"
    assert job.advice == "resume with `python jobs/train.py --config runs/a/settings.yaml --resume`"


def test_any_reason_is_recorded(tmp_path: Path) -> None:
    job = Job(ALONE)
    job.folder = tmp_path
    job.record("caf\udce9 is gone")
    assert (tmp_path / "failure.log").read_text().endswith(": caf\\udce9 is gone\n")


HOLDS_MEMORY = """
import threading, time

memory = b"x" * (1 << 27)
for _ in range(8):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("there", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("attempt", range(20))
def test_a_rank_has_gone_as_soon_as_its_connections_are_closed(attempt: int) -> None:
    """Though it still takes a while to give its memory back."""
    job, rank = Job(ALONE), subprocess.Popen([sys.executable, "-c", HOLDS_MEMORY], stdout=subprocess.PIPE)
    job.set_peers(0, [[os.uname().nodename, os.getpid()], [os.uname().nodename, rank.pid]])
    assert rank.stdout.readline() == b"there\n"
    assert job.lost_peers() == ""
    os.kill(rank.pid, signal.SIGKILL)
    assert rank.stdout.read() == b""
    said = job.lost_peers()
    rank.wait()
    assert said.startswith(f"rank 1 (process {rank.pid} on ")
    assert said.endswith(" has exited")
