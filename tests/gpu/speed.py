"""Images a second of the training step, for many settings in one process.

python -m tests.gpu.speed [--seconds N] [--steps N] [--json FILE] CASE ...

CASE is MODEL:PRECISION:BATCH[:xla][:images=N][:side=N]. A case that fails is reported, and the next one is
tried.
"""

import argparse
import gc
import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cnn.cluster.launchers.process import ALONE
from cnn.cluster.ranks.collectives import Cluster

from .cases import parse_case

RATE = 1e-4
REPEATS = 3
SECONDS = 1.5
"""Of one measurement, about."""


def measure(cluster: Cluster, words: str, max_steps: int) -> dict[str, Any]:
    """Builds the step of a case and measures it, the steps of a measurement in one call."""
    case = parse_case(words)
    gpu = bool(tf.config.list_logical_devices("GPU"))
    if gpu:
        tf.config.experimental.reset_memory_stats("GPU:0")
    begin = time.perf_counter()
    learner = case.build(cluster)
    step = learner.make_step()

    def run(first: int, count: int) -> tuple[float, float]:
        plan = learner.order.plan(first, count, 0, 1)
        begin = time.perf_counter()
        results = step.run(plan, np.full(count, RATE))
        return (time.perf_counter() - begin) / count, float(results.totals["loss"].mean[-1])

    run(0, 1)
    ready = time.perf_counter() - begin
    once, _ = run(1, 2)
    count = max(1, min(max_steps, int(SECONDS / max(once, 1e-4))))
    measured = [run(3 + n * count, count) for n in range(REPEATS)]
    least, median, most = sorted(seconds for seconds, _ in measured)
    return {
        "case": words,
        "images_per_second": round(case.batch / median, 1),
        "ms_per_step": round(1e3 * median, 3),
        "spread": round((most - least) / median, 3),
        "steps_per_call": count,
        "seconds_to_first_step": round(ready, 1),
        "loss": measured[-1][1],
        "peak_gb": round(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e9, 2) if gpu else None,
    }


def described(result: dict[str, Any]) -> str:
    """A result in one line."""
    if "error" in result:
        return f"{result['case']:<48} {result['error']}"
    return (
        f"{result['case']:<48} {result['images_per_second']:>10,.0f} img/s {result['ms_per_step']:>9.2f} ms "
        f"±{100 * result['spread'] / 2:.0f}% first step after {result['seconds_to_first_step']:.0f} s, "
        f"peak {result['peak_gb']} GB, loss {result['loss']:.3f}"
    )


def main() -> None:
    """Measures the cases of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", metavar="CASE")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no case after so many seconds")
    parser.add_argument("--steps", type=int, default=40, help="steps of one call, at most")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    begin, cluster, found = time.monotonic(), Cluster(ALONE), []
    for words in given.cases:
        if time.monotonic() - begin > given.seconds:
            print(f"{words:<48} not tried, no time", flush=True)
            continue
        try:
            result = measure(cluster, words, given.steps)
        except Exception as error:  # out of memory, for example: the other cases are measured all the same
            result = {"case": words, "error": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}
        found.append(result)
        print(described(result), flush=True)
        if given.json:
            given.json.write_text(json.dumps(found, indent=1))
        keras.backend.clear_session()
        gc.collect()


if __name__ == "__main__":
    main()
