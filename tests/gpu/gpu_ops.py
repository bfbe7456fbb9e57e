"""Lists the operations of training steps that have no GPU kernel, or that keep something in the host's memory on a GPU.

python -m tests.gpu.gpu_ops [--json FILE] [MODEL ...]

Assembles the step of each network, walks through its graph and all functions in it, and looks up each operation, with
the types it has there, among the kernels that TensorFlow has registered. It needs TensorFlow for GPUs, but no GPU.
"""

import argparse
import collections
import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import kernels, op_def_registry

from cnn.cluster.collectives import Cluster
from cnn.learner.precision import PRECISIONS
from cnn.optim.optimizers import OPTIMIZERS

from ..noise import noise_learner, one_worker

BATCH = 32
NOT_RUN = {"Placeholder", "_Arg", "_Retval", "NoOp", "VarHandleOp"}
"""What is resolved before a graph runs."""

CALLS = {"StatefulPartitionedCall", "PartitionedCall", "While", "StatelessWhile", "If", "StatelessIf"}
"""Their functions are looked at instead."""


@dataclasses.dataclass(frozen=True)
class StepKind:
    """A step to look at."""

    model: str
    side: int
    """Pixels of a side of the images."""

    settings: tuple[object, ...] = ()
    """Of training, as on the command line."""

    def __str__(self) -> str:
        return " ".join(map(str, (self.model, *self.settings)))


def _small(*settings: object) -> StepKind:
    return StepKind("lenet5-like", 32, settings)


KINDS = [
    StepKind("lenet5", 32),
    *(StepKind("alexnet", 64, ("--precision", each)) for each in PRECISIONS),
    StepKind("vgg16", 32, ("--precision", "mixed_bfloat16")),
    StepKind("googlenet", 65, ("--precision", "mixed_bfloat16")),
    *(StepKind("mobilenet", 32, ("--precision", each)) for each in PRECISIONS),
    *(StepKind("resnet18", 32, ("--precision", each)) for each in PRECISIONS),
    _small("--precision", "float64"),
    *(_small("--optimizer", each) for each in OPTIMIZERS),
    *(_small("--crop", each, "--flip") for each in ("pad", "random", "resized")),
    _small("--colour_jitter", 0.3),
    _small("--erase", 0.5),
    _small("--mixup", 0.2),
    _small("--cutmix", 1),
    _small("--l2", 1e-4, "--label_smoothing", 0.1, "--clip_norm", 1, "--average_decay", 0.99),
]


@dataclasses.dataclass
class Found:
    """Operations, with their types, and in which steps each of them is."""

    everything: dict[str, set[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))
    no_kernel: dict[str, set[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))
    on_host: dict[str, set[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))
    partly_on_host: dict[str, set[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))

    def add(self, node: NodeDef, step: str) -> None:
        """Notes where a node of a step's graph would run on a GPU."""
        what = f"{node.op} [{_type_names(node)}]"
        self.everything[what].add(step)
        kernel = kernel_for(node, "GPU")
        if kernel is None:
            self.no_kernel[what].add(step)
        elif kernel.host_memory_arg:
            hosted, definition = set(kernel.host_memory_arg), op_def_registry.get(node.op)
            arguments = {each.name for each in (*definition.input_arg, *definition.output_arg)}
            whole = bool(definition.output_arg) and arguments <= hosted
            table = self.on_host if whole else self.partly_on_host
            table[f"{what} host: {','.join(sorted(hosted))}"].add(step)


@functools.cache
def _registered(op: str) -> list[Any]:
    return list(kernels.get_registered_kernels_for_op(op).kernel)


def _types(node: NodeDef) -> dict[str, list[int]]:
    """The attributes of a node that are types."""
    found = {}
    for name, value in node.attr.items():
        if value.WhichOneof("value") == "type":
            found[name] = [value.type]
        elif value.WhichOneof("value") == "list" and value.list.type:
            found[name] = list(value.list.type)
    return found


def _type_names(node: NodeDef) -> str:
    names = {name: ",".join(tf.as_dtype(each).name for each in types) for name, types in _types(node).items()}
    return " ".join(f"{name}={value}" for name, value in sorted(names.items()) if not name.startswith("_"))


def kernel_for(node: NodeDef, device: str) -> Any:
    """The kernel that would compute a node; None where there is none."""
    types = _types(node)

    def fits(kernel: Any) -> bool:
        allowed = {each.name: set(each.allowed_values.list.type) for each in kernel.constraint}
        return all(not kinds or set(types.get(name, ())) <= kinds for name, kinds in allowed.items())

    return next((each for each in _registered(node.op) if each.device_type in (device, "DEFAULT") and fits(each)), None)


def nodes_of(graph: GraphDef) -> Iterator[NodeDef]:
    """The nodes of a graph and of all functions in it."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


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
        *kind.settings,
        side=kind.side,
        batch=BATCH,
        margin=margin,
    )
    compiled = learner.make_step()._compile(learner.order.width(1))
    return compiled.get_concrete_function().graph.as_graph_def()


def look_at(cluster: Cluster, kinds: Sequence[StepKind]) -> Found:
    """Looks at the operations of all these steps."""
    found = Found()
    for kind in kinds:
        for node in nodes_of(step_graph(cluster, kind)):
            if node.op not in NOT_RUN | CALLS and op_def_registry.get(node.op) is not None:
                found.add(node, str(kind))
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
    found = look_at(one_worker(), [kind for kind in KINDS if not given.models or kind.model in given.models])
    show("no GPU kernel", found.no_kernel)
    show("wholly in the host's memory", found.on_host)
    show("partly in the host's memory", found.partly_on_host)
    print(f"{len(found.everything)} kinds of operation in all")
    if given.json:
        tables = {
            name: {what: sorted(steps) for what, steps in table.items()}
            for name, table in dataclasses.asdict(found).items()
        }
        given.json.write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main()
