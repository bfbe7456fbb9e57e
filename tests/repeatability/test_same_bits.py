"""The same training ends with the same bits, whatever else the machine does meanwhile.

Two of them are among the other tests; `bash launch/test.sh --repeats` runs all, for hours, and prints a table.
"""

import itertools
import json
import subprocess
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
    with Jobs(tmp_path, seconds=1800) as jobs:  # which VGG19 may take beside busy processes
        yield jobs


BURSTS = """
import random, time
while True:
    end = time.monotonic() + random.uniform(0, 0.03)
    while time.monotonic() < end:
        pass
    time.sleep(random.uniform(0, 0.03))
"""


@pytest.fixture
def busy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Two other processes compute half of the time, in bursts. In the usual run of the tests, other tests do."""
    count = 2 if request.node.get_closest_marker("repeats") else 0
    processes = [subprocess.Popen([sys.executable, "-c", BURSTS]) for _ in range(count)]
    yield
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("network", "threads", "workers", "precisions"), ROWS)
@pytest.mark.usefixtures("busy")
def test_the_same_training_ends_with_the_same_bits(
    jobs: Jobs, network: str, threads: int, workers: int, precisions: tuple[str, ...]
) -> None:
    found: dict[str, set[str]] = {}
    by_timing: list[str] = []
    launcher = "mpirun" if workers > 1 else "none"
    for byte, precision in itertools.product(RUNS, precisions):  # a process each: together they take 10 GB
        program = ("-m", "tests.repeatability.runs", network, threads, RUNS[byte], precision)
        code, output = jobs.run(*program, launcher=launcher, workers=workers, MALLOC_PERTURB_=byte)
        assert code == 0, output
        for line in output.splitlines():
            if line.startswith("[["):
                hashes, sums = json.loads(line)
                found.setdefault(precision, set()).update(hashes)
                by_timing += sums
    for precision, hashes in found.items():
        row = f"{network:14}{precision:15}{threads} threads, {workers} workers"
        print(f"{row}, {sum(RUNS.values())} runs: {' '.join(hashes)}")
    assert found.keys() == set(precisions)
    assert by_timing == []
    assert {precision: len(hashes) for precision, hashes in found.items()} == dict.fromkeys(found, 1)
