"""The processes of a job that runs, and waiting for what it does."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .preloaded import represented


def process_of_rank(rank: int, folder: Path) -> int:
    """The process that trains as this rank into this folder."""
    return represented(process_started_as(rank, "jobs/train.py", str(folder)))


def process_started_as(rank: int, *words: str) -> int:
    """The process that its launcher started as this rank, with these words among its arguments."""
    sought = {word.encode() for word in words}
    wanted = {f"OMPI_COMM_WORLD_RANK={rank}".encode(), f"HOROVOD_RANK={rank}".encode()}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if sought <= set(arguments) and wanted & set(environment):
            return int(process.name)
    raise AssertionError(f"no process is rank {rank}")


def until(done: Callable[[], bool], job: subprocess.Popen[Any], seconds: float = 120) -> None:
    """Waits until something is done, for as long as the job runs that is to do it, and so many seconds at most."""
    deadline = time.monotonic() + seconds
    while not done():
        try:
            code = job.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            assert time.monotonic() < deadline
        else:
            assert done(), (code, job.stdout and job.stdout.read())


def wait_for(path: Path, job: subprocess.Popen[Any]) -> None:
    """Until there is such a file."""
    until(path.exists, job)


def wait_for_workers(folder: Path, workers: int, job: subprocess.Popen[Any]) -> None:
    """Until a run says that it goes on with so many."""
    file = folder / "environment.json"
    until(lambda: file.exists() and json.loads(file.read_text())["topology"]["world_size"] == workers, job)
