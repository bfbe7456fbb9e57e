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


def test_a_loss_is_recorded_once_it_is_named(tmp_path: Path) -> None:
    job = Job(ALONE)
    lost = "rank 8 (process 1042 on vm) has exited"
    assert not job.has_recorded(lost)
    job.folder = tmp_path
    assert not job.has_recorded(lost)
    job.record(f"{lost}, so this rank ends too; start it again.")
    assert job.has_recorded(lost)
    # Those that end because of it have exited, too, when the last ones look.
    assert job.has_recorded("rank 0 (process 1034 on vm) and rank 8 (process 1042 on vm) have exited")
    assert not job.has_recorded("rank 8 (process 104 on vm) has exited")
    assert not job.has_recorded("rank 7 (process 1041 on vm) is suspended")


def test_a_suspended_rank_is_seen_by_the_rank_before_it() -> None:
    """The three ranks of a host watch each other in a ring; those of other hosts are not theirs to watch."""
    host, ranks = os.uname().nodename, [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    peers = [[host, ranks[0].pid], ["elsewhere", ranks[1].pid], [host, ranks[1].pid], [host, ranks[2].pid]]
    try:
        for suspended, watching in ((2, 0), (3, 2), (0, 3)):
            os.kill(peers[suspended][1], signal.SIGSTOP)
            os.waitid(os.P_PID, peers[suspended][1], os.WSTOPPED)
            seen = {}
            for rank in (0, 2, 3):
                job = Job(ALONE)
                job.set_peers(rank, peers)
                seen[rank] = job._suspended_peers_after_the_next()
            os.kill(peers[suspended][1], signal.SIGCONT)
            os.waitid(os.P_PID, peers[suspended][1], os.WCONTINUED)
            name = f"rank {suspended} (process {peers[suspended][1]} on {host})"
            assert seen == {rank: f"{name} is suspended" if rank == watching else "" for rank in (0, 2, 3)}
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()


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
