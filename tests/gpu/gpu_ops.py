"""Lists what in a training step a GPU's machine would do on the host: operations without a kernel for GPUs, and copies.

[mpirun -np 2] python -m tests.gpu.gpu_ops [--json FILE] [MODEL ...]

Assembles the step of each network, walks through its graph and all functions in it, and looks up each operation, with
the types it has there, among the kernels that TensorFlow has registered. It needs TensorFlow for GPUs, but no GPU.
Several ranks look at the steps that exchange gradients.
"""

import argparse
import collections
import contextlib
import dataclasses
import gc
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.python.framework import op_def_registry

from cnn.cluster.exchange.exchange_cost import EXCHANGES
from cnn.cluster.launchers.process import launch_from_environment
from cnn.cluster.ranks.collectives import Cluster
from cnn.data.feed.augmentation import CROPS
from cnn.data.feed.random_operations import POLICIES
from cnn.learner.precision import PRECISIONS
from cnn.models.registry import NETWORKS
from cnn.optim.optimizers import OPTIMIZERS

from ..compiled_graphs import nodes_of
from ..noise import noise_learner, one_worker
from .placement import CALLS, edges_of, kernel_for, type_names

BATCH = 32
_SIDE = 32
NOT_RUN = {"Placeholder", "_Arg", "_Retval", "NoOp", "VarHandleOp"}
"""What is resolved before a graph runs."""


@dataclasses.dataclass(frozen=True)
class StepKind:
    """A step to look at."""

    model: str

    settings: tuple[object, ...] = ()
    """Of training, as on the command line."""

    def __str__(self) -> str:
        return " ".join(map(str, (self.model, *self.settings)))


def _small(*settings: object) -> StepKind:
    return StepKind("lenet5-like", settings)


NETWORK_KINDS = [StepKind(model, ("--precision", precision)) for model in NETWORKS for precision in PRECISIONS]
SETTINGS_KINDS = [
    *(_small("--optimizer", each) for each in OPTIMIZERS),
    *(_small("--crop", crop, "--flip", "--precision", each) for crop in CROPS for each in PRECISIONS),
    *(_small("--augment", policy, "--precision", each) for policy in POLICIES for each in PRECISIONS),
    _small("--colour_jitter", 0.3),
    _small("--erase", 0.5),
    _small("--mixup", 0.2),
    _small("--cutmix", 1),
    _small("--mixup", 0.2, "--cutmix", 1, "--group_size", 8, "--micro_batch_size", 16),
    _small("--l2", 1e-4, "--label_smoothing", 0.1, "--clip_norm", 1, "--average_decay", 0.99),
    _small("--resident_mb", 0, "--crop", "pad"),
]
EXCHANGE_KINDS = [
    *(_small("--exchange", each) for each in EXCHANGES),
    *(_small("--exchange", each, "--compression", "float16") for each in EXCHANGES if each != "sharded"),
    _small("--exchange", "factored", "--micro_batch_size", 4),
    _small("--exchange", "sharded", "--micro_batch_size", 4, "--clip_norm", 1, "--precision", "mixed_float16"),
    StepKind("alexnet-bn", ("--exchange", "factored", "--precision", "mixed_bfloat16", "--group_size", 8)),
]
"""For several ranks."""


@dataclasses.dataclass
class Found:
    """Operations, with their types, and in which steps each of them is."""

    everything: dict[str, set[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))
    no_kernel: dict[str, set[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))
    copied_to_host: dict[str, set[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))
    """The operations that make a tensor and take it."""

    def add(self, graph: GraphDef, step: str) -> None:
        """Notes what of a step's graph would run on the host."""
        for node in nodes_of(graph):
            if node.op not in NOT_RUN | CALLS and op_def_registry.get(node.op) is not None:
                what = f"{node.op} [{type_names(node)}]"
                self.everything[what].add(step)
                if kernel_for(node, "GPU") is None:
                    self.no_kernel[what].add(step)
        for edge in edges_of(graph):
            if edge.is_copied_to_host:
                self.copied_to_host[str(edge)].add(step)


@contextlib.contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Meanwhile the project computes as it does on a GPU; what is executed runs on the host all the same."""
    real = tf.config.get_visible_devices
    tf.config.get_visible_devices = lambda kind=None: [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]
    try:
        yield
    finally:
        tf.config.get_visible_devices = real


@as_on_a_gpu()
def step_graph(cluster: Cluster, kind: StepKind) -> GraphDef:
    """The graph of a step, with all functions in it."""
    keras.backend.clear_session()
    margin = 8 if "random" in kind.settings else 0
    learner = noise_learner(
        cluster,
        "--model",
        kind.model,
        "--optimizer",
        "momentum",
        "--resident_mb",
        "2048",  # the default asks the GPU
        *kind.settings,
        side=max(_SIDE, NETWORKS[kind.model].smallest_image),
        batch=BATCH,
        margin=margin,
    )
    compiled = learner.make_step(timed=cluster.world_size > 1)._compile(learner.order.width(cluster.world_size))
    return compiled.get_concrete_function().graph.as_graph_def()


def look_at(cluster: Cluster, kinds: Sequence[StepKind]) -> Found:
    """Looks at the graphs of all these steps."""
    found = Found()
    for kind in kinds:
        found.add(step_graph(cluster, kind), str(kind))
        gc.collect()  # a network's weights, up to 2 GB
    return found


def show(title: str, table: dict[str, set[str]]) -> None:
    """Prints operations and up to three of the steps that have them."""
    print(f"== {title}")
    for what, steps in sorted(table.items()):
        named = ", ".join(sorted(steps)[:3])
        print(f"{what}   <- {len(steps)} steps: {named}{' ...' if len(steps) > 3 else ''}")


def main() -> None:
    """Looks at all steps, or those of the networks on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    tf.config.set_visible_devices([], "GPU")
    launch = launch_from_environment(os.environ)
    cluster = Cluster(launch) if launch.world_size > 1 else one_worker()
    kinds = EXCHANGE_KINDS if cluster.world_size > 1 else [*NETWORK_KINDS, *SETTINGS_KINDS]
    found = look_at(cluster, [kind for kind in kinds if not given.models or kind.model in given.models])
    if not cluster.is_chief:
        return
    show("no GPU kernel", found.no_kernel)
    show("copied from the GPU to the host", found.copied_to_host)
    print(f"{len(found.everything)} kinds of operation in all")
    if given.json:
        tables = {name: {what: sorted(steps) for what, steps in table.items()} for name, table in vars(found).items()}
        given.json.write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main()
