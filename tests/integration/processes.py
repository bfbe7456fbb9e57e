"""The processes of a job that runs, and waiting for what it does."""

import os
import subprocess
import time
from pathlib import Path


def process_of_rank(rank: int, folder: Path) -> int:
    """The process that trains as this rank into this folder, found by what its launcher gave it."""
    wanted = {f"OMPI_COMM_WORLD_RANK={rank}".encode(), f"HOROVOD_RANK={rank}".encode()}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"jobs/train.py" in arguments and str(folder).encode() in arguments and wanted & set(environment):
            return int(process.name)
    raise AssertionError(f"no process is rank {rank}")


def wait_for(path: Path, job: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        os.sched_yield()
