"""Where a training step's time goes on the GPU: kernels by name, copies by direction, and the GPU's busy share.

python -m tests.gpu.profile_step [--steps N] [--json FILE] CASE ...

CASE as for tests.gpu.speed.
"""

import argparse
import collections
import dataclasses
import json
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from cnn.cluster.launchers.process import ALONE
from cnn.cluster.ranks.collectives import Cluster

from .cases import parse_case

RATE = 1e-4
KINDS = {
    "copy device to host": "memcpyd2h|dtoh",
    "copy host to device": "memcpyh2d|htod",
    "copy on the device": "memcpyd2d|dtod",
    "memset": "memset",
    "convolution": "conv|wgrad|dgrad|fprop|implicit|cudnn|winograd|xmma",
    "matrix product": "gemm|cublas|nvjet|cutlass|splitk",
    "layout": "transpose|nchw|nhwc|swapdimension|shuffle",
    "pooling": "pool",
    "reduction": "reduc|bias",
    "update": "momentum|adam|apply",
}
"""Patterns of kernels' names; the first that is found counts."""


@dataclasses.dataclass(frozen=True)
class Event:
    """A kernel or a copy on the GPU."""

    name: str
    kind: str
    start: int
    """In picoseconds."""

    length: int
    """In picoseconds."""


def kind_of(name: str) -> str:
    """What a kernel does, by its name."""
    for kind, pattern in KINDS.items():
        if re.search(pattern, name.lower()):
            return kind
    return "elementwise and other"


def events_of(folder: Path) -> Iterator[Event]:
    """What ran on the GPU's streams, of a profile that TensorFlow wrote."""
    for file in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
        for plane in space.planes:
            if "GPU" not in plane.name:
                continue
            for line in plane.lines:
                if not line.name.startswith("Stream"):  # the others sum up what is on these
                    continue
                for each in line.events:
                    name = plane.event_metadata[each.metadata_id].name
                    start = line.timestamp_ns * 1000 + each.offset_ps
                    yield Event(name, kind_of(name + line.name), start, each.duration_ps)


def busy_share(events: Sequence[Event]) -> float:
    """The share of the time from the first event to the last in which at least one was going on."""
    busy, last = 0, 0
    for each in sorted(events, key=lambda event: event.start):
        end = each.start + each.length
        busy += max(0, end - max(each.start, last))
        last = max(last, end)
    whole = last - min((each.start for each in events), default=0)
    return busy / whole if whole else 0.0


def profile(cluster: Cluster, words: str, steps: int) -> dict[str, Any]:
    """Profiles some steps of a case, in one call."""
    learner = parse_case(words).build(cluster)
    step, plan, rates = learner.make_step(), learner.order.plan(0, steps, 0, 1), np.full(steps, RATE)
    step.run(plan, rates)
    begin = time.perf_counter()
    step.run(plan, rates)
    seconds = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            step.run(plan, rates)
        events = list(events_of(Path(folder)))
    counts = collections.Counter(each.name for each in events)
    kinds: collections.Counter[str] = collections.Counter()
    names: collections.Counter[str] = collections.Counter()
    for each in events:
        kinds[each.kind] += each.length
        names[each.name] += each.length
    ms = 1e-9 / steps
    return {
        "case": words,
        "ms_per_step": round(1e3 * seconds / steps, 3),
        "gpu_busy_share": round(busy_share(events), 3),
        "launches_per_step": round(len(events) / steps, 1),
        "kinds_ms": {kind: round(length * ms, 3) for kind, length in kinds.most_common()},
        "kernels_ms": [
            (name[:120], round(length * ms, 3), counts[name] / steps) for name, length in names.most_common(25)
        ],
    }


def show(result: dict[str, Any]) -> None:
    """Prints a profile: the kinds, and the eight kernels that took longest."""
    print(
        f"{result['case']}: {result['ms_per_step']} ms per step, GPU busy {100 * result['gpu_busy_share']:.0f} %, "
        f"{result['launches_per_step']} launches"
    )
    for kind, length in result["kinds_ms"].items():
        print(f"    {length:8.3f} ms  {kind}")
    for name, length, count in result["kernels_ms"][:8]:
        print(f"        {length:8.3f} ms {count:6.1f} x {name[:100]}", flush=True)


def main() -> None:
    """Profiles the cases of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", metavar="CASE")
    parser.add_argument("--steps", type=int, default=10, help="steps that are profiled")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    cluster, found = Cluster(ALONE), []
    for words in given.cases:
        found.append(profile(cluster, words, given.steps))
        show(found[-1])
        if given.json:
            given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
