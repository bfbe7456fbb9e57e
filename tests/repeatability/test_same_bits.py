"""The same training ends with the same bits, whatever else the machine does meanwhile.

Several are run at a time, so that each is one of several busy processes, whose timing differs from run to run. Two are
among the other tests; `bash launch/test.sh --repeats` runs all, for hours, and prints a table.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnn.models.registry import NETWORKS

from ..integration.conftest import Jobs

RUNS = {"0": 3, "173": 2}
"""Of each of two processes, one after the other: in one alone, all would be built alike by chance. In the second one
memory that nobody has written yet is full of this byte, turned round (see mallopt(3))."""

PRECISIONS = ("float32", "float64", "mixed_bfloat16")
SHORT = [("resnet18-32", 2, 1, ("float64",)), ("lenet5-like", 1, 2, ("float32",))]
ALL = [(network, threads, workers, PRECISIONS) for network in NETWORKS for threads in (1, 2) for workers in (1, 2)]
ROWS = [*SHORT, *(pytest.param(*row, marks=pytest.mark.repeats) for row in ALL)]


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path, seconds=1800)  # of VGG19, beside others
    yield jobs
    jobs.end()


@pytest.mark.parametrize(("network", "threads", "workers", "precisions"), ROWS)
def test_the_same_training_ends_with_the_same_bits(
    jobs: Jobs, network: str, threads: int, workers: int, precisions: tuple[str, ...]
) -> None:
    found: dict[str, set[str]] = {}
    by_timing: list[str] = []
    launcher = "mpirun" if workers > 1 else "none"
    for byte, runs in RUNS.items():
        program = ("-m", "tests.repeatability.runs", network, threads, runs, *precisions)
        code, output = jobs.run(*program, launcher=launcher, workers=workers, MALLOC_PERTURB_=byte)
        assert code == 0, output
        for line in output.splitlines():
            if line.startswith('["'):
                precision, hashes, sums = json.loads(line)
                found.setdefault(precision, set()).update(hashes)
                by_timing += sums
    for precision, hashes in found.items():
        row = f"{network:14}{precision:15}{threads} threads, {workers} workers"
        print(f"{row}, {sum(RUNS.values())} runs: {' '.join(hashes)}", file=sys.stderr)
    assert found.keys() == set(precisions)
    assert by_timing == []
    assert {precision: len(hashes) for precision, hashes in found.items()} == dict.fromkeys(found, 1)
