"""The liveness probe: a rank that stands still fails it, one that compiles, evaluates or has ended does not."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnn.monitoring.serving.heartbeat import heartbeat
from cnn.monitoring.timing.stopwatch import Stopwatch

PROBE = Path(__file__).parents[2] / "launch" / "pod_alive.sh"


def probe(folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin", "CNN_HEARTBEAT_DIR": str(folder)}
    return subprocess.run(["bash", str(PROBE)], env=environ, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def begun(folder: Path, rank: int, *activities: str, seconds_ago: int = 0) -> Iterator[Stopwatch]:
    """A rank whose last activity began some time ago."""
    with heartbeat({"CNN_HEARTBEAT_DIR": str(folder)}, rank) as beat:
        stopwatch = Stopwatch("start", begun=beat)
        for activity in activities:
            stopwatch.switch(activity)
        then = time.time() - seconds_ago
        os.utime(folder / f"rank-{rank}", (then, then))
        yield stopwatch


@pytest.mark.parametrize(
    ("activities", "seconds_ago", "code"),
    [
        (["training"], 0, 0),
        (["training"], 800, 0),
        (["training"], 1000, 1),
        (["training", "input"], 1000, 1),
        (["compilation"], 1000, 0),
        (["compilation", "training", "evaluation"], 1000, 0),
        (["compilation"], 4000, 1),
        ([], 4000, 1),
    ],
)
def test_what_a_rank_does_decides_how_long_it_may_take(
    tmp_path: Path, activities: list[str], seconds_ago: int, code: int
) -> None:
    beats = tmp_path / "beats"
    with begun(beats, 0, "evaluation"), begun(beats, 1, *activities, seconds_ago=seconds_ago):
        done = probe(beats)
    assert done.returncode == code, done.stderr
    if code:
        last = activities[-1] if activities else "start"
        said = f"error: process {os.getpid()}, rank-1, stands still: it has been in the same activity ({last}) for "
        assert said in done.stderr


def test_a_rank_that_goes_on_is_alive_again(tmp_path: Path) -> None:
    with begun(tmp_path, 0, "training", seconds_ago=2000) as stopwatch:
        assert probe(tmp_path).returncode == 1
        with stopwatch.during("input"):
            pass
        assert probe(tmp_path).returncode == 0


def test_a_rank_that_has_ended_does_not_count(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with begun(tmp_path, 0, "training", seconds_ago=2000):
        pass
    file = tmp_path / "rank-0"
    file.write_text(file.read_text().replace(str(os.getpid()), str(ended.pid)))
    os.utime(file, (0, 0))
    assert probe(tmp_path).returncode == 0


def test_without_ranks_nothing_stands_still(tmp_path: Path) -> None:
    assert probe(tmp_path).returncode == 0
    assert probe(tmp_path / "none").returncode == 0


def test_without_the_folder_s_name_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for environ in ({}, {"CNN_HEARTBEAT_DIR": str(tmp_path / "file")}):
        with heartbeat(environ, 0) as beat:
            beat("training")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
