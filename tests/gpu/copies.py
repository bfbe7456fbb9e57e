"""What training steps copy between host and GPU, seen on a GPU that is only imagined.

python -m tests.gpu.copies [--steps N] [--json FILE] CASE ...

CASE is MODEL:PRECISION:BATCH[:xla][:streamed][:images=N][:side=N]. Prints, for one call of some steps of each case, the
bytes and the sizes of the copies in each direction, and the tensors of the compiled function that pass between host and
GPU. Needs a C compiler and the environment of `launch/setup.sh --gpu`, but no GPU.
"""

import argparse
import collections
import dataclasses
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from cnn.cluster.launchers.process import ALONE
from cnn.cluster.ranks.collectives import Cluster

from .cases import parse_case
from .crossings import crossings_of
from .imagined.make import make

ROOT = Path(__file__).parents[2]
NOTES = "IMAGINED_GPU_COPIES"
"""The environment variable that names the file in which the imagined driver notes copies."""

RATE = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copies:
    """The copies of one call of some steps."""

    case: str
    steps: int

    images: int
    """Bytes of the steps' images."""

    results: int
    """Bytes of what the call returns."""

    to_device: list[int] = dataclasses.field(repr=False)
    """Bytes of each copy from the host to the GPU."""

    to_host: list[int] = dataclasses.field(repr=False)
    """Bytes of each copy from the GPU to the host."""

    crossings: list[str] = dataclasses.field(repr=False)
    """The tensors of the compiled function that pass between host and GPU."""

    @property
    def described(self) -> str:
        """All of it, the largest copies first."""
        lines = [
            f"{self.case}: {self.steps} steps in one call, {self.images / self.steps:,.0f} bytes of images per step"
        ]
        for direction, sizes in (("to the device", self.to_device), ("to the host", self.to_host)):
            lines.append(f"    {sum(sizes) / self.steps:14,.0f} bytes per step {direction}")
            counts = sorted(collections.Counter(sizes).items(), reverse=True)
            lines += [f"        {count:5} x {size:12,} bytes" for size, count in counts]
        return "\n".join([*lines, *(f"    {each}" for each in self.crossings)])


def measure(cluster: Cluster, words: str, steps: int, notes: Path) -> Copies:
    """Runs some steps of a case, in a process that sees the imagined GPU."""
    case = parse_case(words)
    learner = case.build(cluster)
    step, plan, rates = learner.make_step(), learner.order.plan(0, steps, 0, 1), np.full(steps, RATE)
    compiled = step._compile(plan.indices.shape[1]).get_concrete_function()

    # In the first call, which also tries algorithms.
    crossings = crossings_of(lambda: step.run(plan, rates), compiled.graph)
    begin = notes.stat().st_size
    step.run(plan, rates)
    copies: dict[str, list[int]] = collections.defaultdict(list)
    for line in notes.read_text()[begin:].splitlines():
        direction, size = line.split()
        copies[direction].append(int(size))
    result = compiled.structured_outputs
    return Copies(
        case=words,
        steps=steps,
        images=steps * case.batch * case.side**2 * 3,
        results=steps * result.shape[1] * result.dtype.size,
        to_device=copies["to_device"],
        to_host=copies["to_host"],
        crossings=sorted(set(map(str, crossings))),
    )


def measure_apart(cases: Sequence[str], steps: int) -> list[Copies]:
    """Runs some steps of each case, in another process, which sees the imagined GPU."""
    with tempfile.TemporaryDirectory() as folder:
        libraries, notes, result = (Path(folder) / name for name in ("libraries", "notes", "result.json"))
        make(libraries)
        seen = {"LD_LIBRARY_PATH": str(libraries), NOTES: str(notes), "CNN_DEVICE": "gpu", "TF_CPP_MIN_LOG_LEVEL": "1"}
        # Else tensors would begin with what earlier ones left, which need not be indices or numbers.
        seen["TF_GPU_ALLOCATOR"] = "cuda_malloc_async"
        command = [sys.executable, "-m", "tests.gpu.copies", "--steps", str(steps), "--json", str(result), *cases]
        done = subprocess.run(command, env={**os.environ, **seen}, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(cases)} failed:\n{done.stderr[-3000:]}")
        return [Copies(**each) for each in json.loads(result.read_text())]


def _measure_here(cases: Sequence[str], steps: int, notes: Path) -> list[Copies]:
    cluster, found = Cluster(ALONE), []
    if not tf.config.list_logical_devices("GPU"):
        sys.exit("TensorFlow does not see the imagined GPU; TF_CPP_MIN_LOG_LEVEL=0 shows why.")
    for words in cases:
        found.append(measure(cluster, words, steps, notes))
        keras.backend.clear_session()
        gc.collect()
    return found


def main() -> None:
    """Measures the cases of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", metavar="CASE")
    parser.add_argument("--steps", type=int, default=10, help="steps of the call")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    notes = os.environ.get(NOTES)
    if notes:  # this is the other process
        found = _measure_here(given.cases, given.steps, Path(notes))
    else:
        found = measure_apart(given.cases, given.steps)
        for each in found:
            print(each.described)
    if given.json:
        given.json.write_text(json.dumps([dataclasses.asdict(each) for each in found]))


if __name__ == "__main__":
    main()
