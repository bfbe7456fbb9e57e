"""Which tensors of a compiled step pass between host and GPU, by the graphs that TensorFlow runs."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from ..compiled_graphs import functions_run_by

ROOT = Path(__file__).parents[2]
PASSING_ON = {"Identity", "Switch", "Merge", "Enter", "Exit", "NextIteration", "RefSwitch", "_SwitchN"}
"""Operations whose output is one of their inputs."""


@dataclasses.dataclass(frozen=True)
class Crossing:
    """A tensor that passes between host and GPU."""

    to_host: bool
    dtype: str
    source: str
    """The operation that computes it."""

    users: tuple[str, ...]
    """The operations that use it on the other side."""

    def __str__(self) -> str:
        users = ", ".join(self.users[:2]) + ", ..." * (len(self.users) > 2)
        return f"{'to the host' if self.to_host else 'to the device'}: {self.dtype} of {self.source}, used by {users}"


def crossings_of(call: Callable[[], object], graph: tf.Graph) -> list[Crossing]:
    """Calls a function for the first time, and finds what passes between host and GPU in it.

    Args:
        call: calls it.
        graph: its graph in Python, which knows the lines that made the operations.
    """
    functions = functions_run_by(call)
    lines = dict(_lines(graph))
    # Beside it, TensorFlow has made functions of a few nodes each for operations outside of it.
    parts = max((function.partition_graphs for function in functions), key=_size)
    return list(_crossings(parts, lines))


def _size(parts: Iterable[GraphDef]) -> int:
    return sum(len(part.node) for part in parts)


def _crossings(parts: Iterable[GraphDef], lines: dict[str, str]) -> Iterator[Crossing]:
    """The crossings of a function's graph, which is divided into the host's and the GPU's part."""
    sent: dict[str, tuple[bool, NodeDef, dict[str, NodeDef]]] = {}
    received: dict[str, tuple[bool, NodeDef, dict[str, NodeDef]]] = {}
    for part in parts:
        nodes = {node.name: node for node in part.node}
        for node in part.node:
            table = {"Send": sent, "Recv": received}.get(node.op.removeprefix("_").removeprefix("Host"))
            if table is not None:
                # _HostSend and _HostRecv have their tensors in the host's memory on a GPU, too.
                on_device = "GPU" in node.device and not node.op.startswith("_Host")
                table[node.attr["tensor_name"].s.decode()] = on_device, node, nodes
    for name, (from_device, sender, nodes) in sent.items():
        to_device, receiver, others = received[name]
        source = _origin(sender, nodes)
        # An operation that must wait for one on the other side is sent a constant without elements.
        if from_device != to_device and not (source.op == "Const" and "/ctrl/" in source.name):
            users = [node for node in others.values() if receiver.name in map(_name, node.input)]
            described = tuple(_described(user, lines) for user in users)
            dtype = tf.as_dtype(sender.attr["T"].type).name
            yield Crossing(from_device, dtype, _described(source, lines), described)


def _origin(node: NodeDef, nodes: dict[str, NodeDef]) -> NodeDef:
    """The operation that computed a node's first input."""
    node = nodes[_name(node.input[0])]
    while node.op in PASSING_ON:
        node = nodes[_name(node.input[0])]
    return node


def _name(edge: str) -> str:
    return edge.removeprefix("^").partition(":")[0]


def _described(node: NodeDef, lines: dict[str, str]) -> str:
    # A function that was put in the place of its call has a prefix that ends in a number: while/body/_1/while/Cast.
    name = re.sub(r"^.*/_\d+/", "", node.name)
    return f"{node.op} {name}{lines.get(name, '')}"


def _lines(graph: Any) -> Iterator[tuple[str, str]]:
    """The names of operations of a graph and its functions, each with the line in `cnn` that made it."""
    for operation in graph.get_operations():
        own = [frame for frame in operation.traceback or () if Path(frame.filename).is_relative_to(ROOT / "cnn")]
        if own:
            yield operation.name, f" ({Path(own[-1].filename).relative_to(ROOT)}:{own[-1].lineno})"
        for name in operation.node_def.attr.values():
            if name.WhichOneof("value") == "func":
                function = graph._get_function(name.func.name)
                if function is not None:
                    yield from _lines(function.graph)
