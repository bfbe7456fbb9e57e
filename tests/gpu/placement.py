"""Where the operations of a graph would run on a GPU's machine, and which tensors would be copied to the host for it.

TensorFlow copies a tensor where the operation that makes it and the one that takes it want it in different memories.
The copy to the host is the expensive one: the host must wait until the GPU has computed the tensor.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.framework.op_def_pb2 import OpDef
from tensorflow.python.framework import kernels, op_def_registry

CALLS = {"StatefulPartitionedCall", "PartitionedCall", "While", "StatelessWhile", "If", "StatelessIf"}
"""What calls functions."""


@dataclasses.dataclass(frozen=True)
class Port:
    """One input or output of a node."""

    name: str
    """The argument's name in the operation's definition."""

    dtype: tf.DType
    on_host: bool


@dataclasses.dataclass(frozen=True)
class Edge:
    """A tensor's way from the node that makes it to one that takes it."""

    source: str
    """An operation, or `argument` of the function that the edge is in."""

    target: str
    """An operation, or `result` of that function."""

    tensor: Port
    to_host: bool
    """Whether the target wants the tensor in the host's memory."""

    @property
    def is_copied_to_host(self) -> bool:
        """Whether it starts in the GPU's memory and ends in the host's."""
        return self.to_host and not self.tensor.on_host and self.tensor.dtype not in (tf.resource, tf.variant)

    def __str__(self) -> str:
        return f"{self.source} -> {self.target} [{self.tensor.dtype.name}]"


def kernel_for(node: NodeDef, device: str) -> Any:
    """The kernel that would compute a node on such a device; None if there is none."""
    types = _type_attributes(node)

    def fits(kernel: Any) -> bool:
        allowed = {each.name: set(each.allowed_values.list.type) for each in kernel.constraint}
        return all(not kinds or set(types.get(name, ())) <= kinds for name, kinds in allowed.items())

    return next((each for each in _registered(node.op) if each.device_type in (device, "DEFAULT") and fits(each)), None)


def edges_of(graph: GraphDef) -> Iterator[Edge]:
    """The edges of a graph and of all functions in it, as far as they carry tensors."""
    yield from _edges(graph.node, {}, {})
    for function in graph.library.function:
        arguments = {each.name: _between_functions(each.type) for each in function.signature.input_arg}
        results = {function.ret[each.name]: each.type for each in function.signature.output_arg}
        yield from _edges(function.node_def, arguments, results)


def _edges(nodes: Sequence[NodeDef], arguments: Mapping[str, Port], results: Mapping[str, int]) -> Iterator[Edge]:
    """The edges among nodes, from a function's arguments and to its results, given by the tensors' names.

    Edges from constants, and from what is computed from them alone, are left out: TensorFlow computes it beforehand.
    """
    made = {name: ("argument", port) for name, port in arguments.items()}
    for node in nodes:
        if not _is_constant(node, made):
            made.update({name: (node.op, port) for name, port in _outputs(node)})
    for node in nodes:
        for name, port in zip(_tensors(node), _ports(node, op_def_registry.get(node.op).input_arg), strict=True):
            if name in made:
                source, tensor = made[name]
                yield Edge(source, node.op, tensor, to_host=port.on_host)
    for name, number in results.items():
        if name in made:
            source, tensor = made[name]
            yield Edge(source, "result", tensor, to_host=_between_functions(number).on_host)


def _is_constant(node: NodeDef, made: Mapping[str, tuple[str, Port]]) -> bool:
    """Whether a node is computed from constants alone, given the tensors made before it that are not."""
    tensors = _tensors(node)
    if not tensors or op_def_registry.get(node.op).is_stateful:
        return node.op == "Const"
    return not any(name in made for name in tensors)


def _tensors(node: NodeDef) -> list[str]:
    """The names of a node's inputs, as `_outputs` has them."""
    return [name for name in node.input if not name.startswith("^")]


def _outputs(node: NodeDef) -> Iterator[tuple[str, Port]]:
    """The node's outputs with their names as inputs of other nodes, in a graph and in a function."""
    ports = _ports(node, op_def_registry.get(node.op).output_arg)
    first: dict[str, int] = {}
    for number, port in enumerate(ports):
        within = number - first.setdefault(port.name, number)
        yield f"{node.name}:{number}" if number else node.name, port
        yield f"{node.name}:{port.name}:{within}", port


def _ports(node: NodeDef, arguments: Sequence[OpDef.ArgDef]) -> list[Port]:
    kernel = kernel_for(node, "GPU")
    found = []
    for argument in arguments:
        for number in _types(node, argument):
            if node.op in CALLS | {"Placeholder"}:  # of a graph that is itself called, an argument
                port = _between_functions(number)
                on_host = port.on_host or argument.name == "cond"  # which branch to take is decided on the host
                found.append(dataclasses.replace(port, name=argument.name, on_host=on_host))
            else:
                on_host = kernel is None or argument.name in kernel.host_memory_arg
                found.append(Port(argument.name, tf.as_dtype(number), on_host))
    return found


def _between_functions(number: int) -> Port:
    """A tensor that enters or leaves a function: TensorFlow keeps int32 and strings in the host's memory."""
    dtype = tf.as_dtype(number)
    return Port("", dtype, on_host=dtype in (tf.int32, tf.string))


def _types(node: NodeDef, argument: OpDef.ArgDef) -> list[int]:
    """The type of each tensor of a node's argument."""
    if argument.type_list_attr:
        return list(node.attr[argument.type_list_attr].list.type)
    number = argument.type or node.attr[argument.type_attr].type
    return [number] * (node.attr[argument.number_attr].i if argument.number_attr else 1)


@functools.cache
def _registered(op: str) -> list[Any]:
    return list(kernels.get_registered_kernels_for_op(op).kernel)


def _type_attributes(node: NodeDef) -> dict[str, list[int]]:
    """The attributes of a node that are types."""
    found = {}
    for name, value in node.attr.items():
        if value.WhichOneof("value") == "type":
            found[name] = [value.type]
        elif value.WhichOneof("value") == "list" and value.list.type:
            found[name] = list(value.list.type)
    return found


def type_names(node: NodeDef) -> str:
    """The attributes of a node that are types, as text."""
    types = _type_attributes(node)
    names = {name: ",".join(tf.as_dtype(each).name for each in numbers) for name, numbers in types.items()}
    return " ".join(f"{name}={value}" for name, value in sorted(names.items()) if not name.startswith("_"))
