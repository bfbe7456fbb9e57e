"""The same training several times: `python -m tests.repeatability.runs NETWORK THREADS RUNS`, under mpirun or alone.

Prints a line for each precision: it, the hashes of what each run ended with, and the sums that timing could decide.
"""

import hashlib
import json
import os
import sys

import numpy as np

from cnn.cluster import launch
from cnn.cluster.collectives import Cluster
from cnn.cluster.exchange import make_exchange
from cnn.training.state import read_state, restore_state

from .smallest import SmallestStep, sums_by_timing

PRECISIONS = ("float32", "float64", "mixed_bfloat16")
STEPS = 3


def main(network: str, threads: int, runs: int) -> None:
    cores = launch.Cores(pinned=None, threads=threads)
    launch.share_cores = lambda *_: cores  # whatever this machine has
    cluster = Cluster(launch.launch_from_environment(os.environ))
    for precision in PRECISIONS:
        step = SmallestStep(network, make_exchange(cluster, bucket_bytes=2**20), precision)
        initial = {name: np.array(value) for name, value in read_state(step.variables).items()}
        hashes = []

        def run(step: SmallestStep = step) -> None:
            step.run(STEPS, cluster.rank, cluster.world_size)

        for number in range(runs):
            restore_state(step.variables, initial, "the start")
            found = run() if number else sums_by_timing(run)
            summed = found if number == 0 else summed
            state = read_state(step.variables)
            hashes.append(hashlib.sha256(b"".join(state[name].tobytes() for name in sorted(state))).hexdigest()[:16])
        everywhere = cluster.gather(hashes)
        if cluster.is_chief:
            print(json.dumps([precision, sorted({each for rank in everywhere for each in rank}), summed]), flush=True)


main(sys.argv[1], *map(int, sys.argv[2:]))
