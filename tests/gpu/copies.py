"""What training steps copy between host and GPU, seen on a GPU that is only imagined.

python -m tests.gpu.copies [--steps N] [--json FILE] CASE ...

CASE is MODEL:PRECISION:BATCH[:xla][:streamed][:images=N][:side=N]. Prints, for one call of some steps of each case, the
bytes and the sizes of the copies in each direction. Needs a C compiler and the environment of `launch/setup.sh --gpu`,
but no GPU.
"""

import argparse
import collections
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .imagined.make import make

ROOT = Path(__file__).parents[2]
NOTES = "IMAGINED_GPU_COPIES"
"""The environment variable that names the file in which the imagined driver notes copies."""

RATE = 1e-4


@dataclasses.dataclass(frozen=True)
class Copies:
    """The copies of one call of some steps, in bytes each."""

    case: str
    steps: int
    results: int
    """Bytes of the results that the call returns."""

    to_device: list[int]
    to_host: list[int]


def measure(words: str, steps: int, notes: Path) -> Copies:
    """Runs some steps of a case, in a process that sees the imagined GPU."""
    import numpy as np
    import tensorflow as tf

    from cnn.cluster.collectives import Cluster
    from cnn.cluster.process import ALONE

    from .cases import parse_case

    cluster = Cluster(ALONE)
    if not tf.config.list_logical_devices("GPU"):
        sys.exit("TensorFlow does not see the imagined GPU.")
    learner = parse_case(words).build(cluster)
    step, plan, rates = learner.make_step(), learner.order.plan(0, steps, 0, 1), np.full(steps, RATE)
    step.run(plan, rates)  # compiles, and tries algorithms
    begin = notes.stat().st_size
    step.run(plan, rates)
    found: dict[str, list[int]] = collections.defaultdict(list)
    for line in notes.read_text()[begin:].splitlines():
        direction, size = line.split()
        found[direction].append(int(size))
    return Copies(words, steps, 0, found["to_device"], found["to_host"])


def measure_all(cases: Sequence[str], steps: int) -> list[Copies]:
    """Runs some steps of each case in a process of its own, which sees the imagined GPU."""
    with tempfile.TemporaryDirectory() as folder:
        libraries, notes, result = (Path(folder) / name for name in ("libraries", "notes", "result.json"))
        make(libraries)
        environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries), NOTES: str(notes), "TF_CPP_MIN_LOG_LEVEL": "1"}
        found = []
        for words in cases:
            command = [sys.executable, "-m", "tests.gpu.copies", "--steps", str(steps), "--json", str(result), words]
            done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{words} failed:\n{done.stderr[-3000:]}")
            found += [Copies(**each) for each in json.loads(result.read_text())]
    return found


def show(copies: Copies) -> None:
    """Prints the sizes of all copies, the largest first."""
    print(f"{copies.case}: {copies.steps} steps in one call")
    for direction, sizes in (("to the device", copies.to_device), ("to the host", copies.to_host)):
        print(f"    {sum(sizes) / copies.steps:14,.0f} bytes per step {direction}")
        for size, count in sorted(collections.Counter(sizes).items(), reverse=True):
            print(f"        {count:5} x {size:12,} bytes")


def main() -> None:
    """Measures the cases of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", metavar="CASE")
    parser.add_argument("--steps", type=int, default=10, help="steps of the call")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    notes = os.environ.get(NOTES)
    if notes:
        found = [measure(words, given.steps, Path(notes)) for words in given.cases]
    else:
        found = measure_all(given.cases, given.steps)
        for each in found:
            show(each)
    if given.json:
        given.json.write_text(json.dumps([dataclasses.asdict(each) for each in found]))


if __name__ == "__main__":
    main()
