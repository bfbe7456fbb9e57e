"""The same training several times: `[mpirun] python -m tests.repeatability.runs NETWORK THREADS RUNS PRECISION`.

Prints a line: the hashes of what each run ended with, and the sums that timing could decide.
"""

import hashlib
import json
import os
import sys

import numpy as np

from cnn.cluster.exchange.exchange import make_exchange
from cnn.cluster.launchers import process as launch
from cnn.cluster.ranks.collectives import Cluster
from cnn.learner.state import read_state, restore_state

from .smallest import SmallestStep, sums_by_timing

STEPS = 3


def main(network: str, threads: int, runs: int, precision: str) -> None:
    """Trains so many times."""
    cores = launch.Cores(pinned=None, threads=threads)
    launch.share_cores = lambda *_: cores  # whatever this machine has
    cluster = Cluster(launch.launch_from_environment(os.environ))
    exchange = make_exchange(cluster, bucket_bytes=2**20)
    step = SmallestStep(network, cluster, "--precision", precision, exchange=exchange)
    by_timing, hashes = hashes_of_runs(step, runs, cluster)
    everywhere = {each for rank in cluster.gather(hashes) for each in rank}
    if cluster.is_chief:
        print(json.dumps([sorted(everywhere), by_timing]), flush=True)


def hashes_of_runs(step: SmallestStep, runs: int, cluster: Cluster) -> tuple[list[str], list[str]]:
    """The sums that timing could decide, and of each run's end its hash."""

    def run() -> None:
        step.run(STEPS, cluster.rank, cluster.world_size)

    initial = {name: np.array(value) for name, value in read_state(step.variables).items()}
    by_timing, hashes = sums_by_timing(run), [hash_of(step)]
    for _ in range(runs - 1):
        restore_state(step.variables, initial, "the start")
        run()
        hashes.append(hash_of(step))
    return by_timing, hashes


def hash_of(step: SmallestStep) -> str:
    digest = hashlib.sha256()
    for _, values in sorted(read_state(step.variables).items()):
        digest.update(np.ascontiguousarray(values))
    return digest.hexdigest()[:16]


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
