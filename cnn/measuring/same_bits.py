"""The bits of weights trained with --reproducible, which must be the same for any number of workers and threads."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnn.data.sources.registry import open_dataset
from cnn.learner.assembly import assemble, build_model, make_order
from cnn.measuring.proof import Settings, check_output, small_epoch
from cnn.models.registry import ModelSettings

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster
    from cnn.data.dataset import Dataset

_FILE = "bits.json"


class Bits(NamedTuple):
    """What one training ended with."""

    model: str
    precision: str
    workers: int
    threads: int
    """Threads of each worker."""

    weights: str
    """SHA-256 of the network's variables and of their moving average, hexadecimal."""


def measure_bits(cluster: "Cluster", settings: Settings, folder: Path) -> None:
    """Trains every network with the workers of this job. Rank 0 writes the result to the folder, for `read_bits`."""
    check_output(cluster, folder)
    dataset = cluster.done_everywhere(lambda: open_dataset(settings.data))
    size = cluster.world_size, cluster.cores.threads
    found = [
        Bits(model, precision, *size, _trained(cluster, settings, model, precision, dataset))
        for model in settings.proof.models
        for precision in settings.proof.compared_precisions
    ]
    if cluster.is_chief:
        (folder / _FILE).write_text(json.dumps(found))


def read_bits(folder: Path) -> list[Bits]:
    """The result of `measure_bits`."""
    return [Bits(*each) for each in json.loads((folder / _FILE).read_text())]


def _trained(cluster: "Cluster", settings: Settings, model: str, precision: str, dataset: "Dataset") -> str:
    """The checksum of a network's weights after training."""
    import tensorflow as tf

    from cnn.learner.state import read_state

    tf.get_logger().setLevel("ERROR")  # it warns about compiling several networks
    size, steps = settings.proof.proof_batch_size, settings.proof.proof_steps
    enlarged, samples = small_epoch(settings, model, dataset)
    learning = settings.learner(ModelSettings(model=model), precision)
    network = build_model(learning, enlarged)
    order = make_order(cluster, learning, network, samples, size)
    learner = assemble(cluster, learning, enlarged, order, network)
    plan = order.plan(0, steps, cluster.rank, cluster.world_size)
    learner.make_step().run(plan, np.full(steps, settings.optimizer.learning_rate_for(size)))
    state = read_state({name: each for name, each in learner.variables.items() if not name.startswith("optimizer/")})
    return hashlib.sha256(b"".join(state[name].tobytes() for name in sorted(state))).hexdigest()


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """Processes that are started inside may use a single core, so that they compute with one thread."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def same_bits_table(found: Sequence[Bits]) -> tuple[str, bool]:
    """Formats the results, network by network; also returns whether all of each network and precision are the same."""
    first: dict[tuple[str, str], str] = {}
    for each in found:
        first.setdefault((each.model, each.precision), each.weights)
    kinds, agree = list(first), True
    lines = ["network        precision        workers  threads  SHA-256 of the weights"]
    for each in sorted(found, key=lambda each: (kinds.index((each.model, each.precision)), each.workers)):
        same = each.weights == first[each.model, each.precision]
        agree = agree and same
        lines.append(
            f"{each.model:<14} {each.precision:<16} {each.workers:>7}  {each.threads:>7}  {each.weights}"
            + ("" if same else "  DIFFERS")
        )
    return "\n".join(lines), agree
