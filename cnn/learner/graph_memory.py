"""Prediction of the memory that a traced graph takes when TensorFlow runs it, without running it.

TensorFlow allocates an operation's outputs when the operation starts, and frees a tensor when the last operation that
reads it has finished. Here the operations are taken in an order in which TensorFlow's executor may run them: cheap ones
as soon as they are ready, of the others two at a time, the latest first. Three rules keep tensors out of the count, or
bring some in:

- An elementwise operation writes into the memory of an input that nothing else reads.
- A variable's value is read without a copy. An update while a reader of the old value still runs takes new memory.
- Keras passes all gradients through one IdentityN, which TensorFlow's graph optimizer removes.
"""

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from cnn.learner.pool_allocator import Chunk, PoolAllocator

_ALIASES = {"Identity", "Reshape", "ExpandDims", "Squeeze", "StopGradient", "PreventGradient"}
_WITHOUT_MEMORY = {"Placeholder", "Const", "NoOp", "Shape", "ShapeN", "Size", "Rank"}
_IN_PLACE = {
    *("Relu", "ReluGrad", "Relu6", "Sigmoid", "SigmoidGrad", "Tanh", "TanhGrad", "BiasAdd", "Add", "AddV2", "AddN", "Sub", "Mul"),
    *("RealDiv", "DivNoNan", "Neg", "Square", "SquaredDifference", "Sqrt", "SqrtGrad", "Rsqrt", "RsqrtGrad", "Exp"),
    *("Log", "Pow", "Maximum", "Minimum", "SelectV2", "BitwiseXor", "BitwiseAnd", "BitwiseOr", "RightShift"),
    "LeftShift",
}
_READ = "ReadVariableOp"
_UPDATES = ("Assign", "ResourceApply")
_LOOPS = {"While", "StatelessWhile"}

_COSTLY_BYTES = 64 << 10
"""An operation on a tensor of this size counts as one that TensorFlow gives to a thread of its own."""

_AT_A_TIME = 2
"""Costly operations that run at the same time, in the two threads that `take_devices` allows."""

_BACKWARD = "gradients/"
"""Part of the names of the backward pass's operations; those after the last of them are exchange and update."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """An operation of a graph."""

    name: str
    op: str
    inputs: tuple[str, ...]
    """The tensors that it reads."""

    after: frozenset[str]
    """The operations that must have finished before it."""

    outputs: tuple[tuple[str, int], ...]
    """Its tensors, with their bytes; 0 for handles."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peak:
    """The moment of a run when its allocator uses most; all in bytes."""

    used: int
    """What the allocator uses, variables included."""

    gradients: int
    """Gradients, tensors of exchange and update, and old values of variables that are still being read."""

    activations: int
    """All other tensors: outputs of layers, the loss's gradients with respect to them, the batch."""


def nodes_of(graph: Any) -> list[Node]:
    """The operations of a FuncGraph that TensorFlow keeps: those that an update of a variable or an output needs."""
    pending = [each for each in graph.get_operations() if _is_update(each.type)] + [each.op for each in graph.outputs]
    needed = set()
    while pending:
        operation = pending.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            pending += [*(each.op for each in operation.inputs), *operation.control_inputs]
    kept = [each for each in graph.get_operations() if each.name in needed and not _is_removed(each)]
    names = {each.name for each in kept}
    return [_node(each, names) for each in kept]


def _node(operation: Any, names: set[str]) -> Node:
    inputs = [_source(each) for each in operation.inputs]
    after = {each.op.name for each in inputs} | {each.name for each in operation.control_inputs}
    return Node(
        name=operation.name,
        op=operation.type,
        inputs=tuple(each.name for each in inputs),
        after=frozenset(after & names),
        outputs=tuple((each.name, _bytes(each)) for each in operation.outputs),
    )


def _is_update(op: str) -> bool:
    return op.startswith(_UPDATES)


def _is_removed(operation: Any) -> bool:
    return bool(operation.type == "IdentityN" and not operation.control_inputs)


def _source(tensor: Any) -> Any:
    while _is_removed(tensor.op):
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor


def _bytes(tensor: Any) -> int:
    if tensor.dtype.name in ("resource", "variant") or not tensor.shape.is_fully_defined():
        return 0
    return int(math.prod(tensor.shape) * tensor.dtype.size)


class GraphRun:
    """One run of a graph.

    Args:
        nodes: the graph, from `nodes_of`.
        allocator: what allocates.
        variables: chunks of the variables by their size; variables of one size are interchangeable.
        loop: the body of a loop in the graph, which runs when the loop does; empty without one.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        allocator: PoolAllocator,
        variables: Mapping[int, collections.deque[Chunk]],
        loop: Sequence[Node] = (),
    ) -> None:
        self._nodes, self._allocator, self._variables, self._loop = nodes, allocator, variables, loop
        self._bytes = {name: size for node in nodes for name, size in node.outputs}
        self._readers = collections.Counter(name for node in nodes for name in node.inputs)
        self._followers = collections.defaultdict(list)
        for node in nodes:
            for name in node.after:
                self._followers[name].append(node)
        self._late = self._late_tensors()
        self._waiting = {node.name: len(node.after) for node in nodes}
        self._cheap: collections.deque[Node] = collections.deque()
        self._costly: list[Node] = []
        self._buffers: dict[str, str] = {}  # of tensors; of a variable's value, the name of its handle
        self._uses: collections.Counter[str] = collections.Counter()  # of buffers
        self._sizes: dict[str, int] = {}  # of buffers
        self._chunks: dict[str, Chunk] = {}  # of buffers
        self._peak = Peak(used=0, gradients=0, activations=0)

    def run(self) -> Peak:
        """Runs the graph once; its outputs are freed at the end."""
        for node in self._nodes:
            if not node.after:
                self._queue(node)
        running: collections.deque[Node] = collections.deque()
        while self._cheap or self._costly or running:
            if self._cheap:
                node = self._cheap.popleft()
                self._start(node)
                self._finish(node)
            elif self._costly and len(running) < _AT_A_TIME:
                running.append(self._costly.pop())
                self._start(running[-1])
            else:
                self._finish(running.popleft())
        for chunk in self._chunks.values():
            self._allocator.free(chunk)
        return self._peak

    def _late_tensors(self) -> set[str]:
        """The gradients, and the tensors of exchange and update."""
        backward = [number for number, node in enumerate(self._nodes) if _BACKWARD in node.name]
        late = self._nodes[backward[-1] + 1 :] if backward else []
        read = {name for node in late for name in node.inputs if _BACKWARD in name}
        return read | {name for node in late for name, _ in node.outputs}

    def _queue(self, node: Node) -> None:
        sizes = [self._bytes.get(name, 0) for name in (*node.inputs, *(name for name, _ in node.outputs))]
        is_free = node.op in _ALIASES or node.op in _WITHOUT_MEMORY or node.op == _READ
        (self._cheap if is_free or max(sizes, default=0) < _COSTLY_BYTES else self._costly).append(node)

    def _start(self, node: Node) -> None:
        if node.op == _READ:
            handle, (value, size) = node.inputs[0], node.outputs[0]
            self._buffers[value] = handle
            self._sizes[handle] = size
            self._uses[handle] += self._readers[value]
        elif _is_update(node.op):
            for name in node.inputs:
                self._update(name)
        elif node.op not in _WITHOUT_MEMORY:
            self._allocate_outputs(node)
        self._record()
        if node.op in _LOOPS:
            within = GraphRun(self._loop, self._allocator, {}).run()
            self._record(within.activations + within.gradients, within.used)

    def _allocate_outputs(self, node: Node) -> None:
        inputs = [self._buffers[name] for name in node.inputs if name in self._buffers]
        for output, size in node.outputs:
            fitting = []
            if node.op in _ALIASES:
                fitting = inputs[:1]
            elif node.op in _IN_PLACE:
                fitting = [each for each in inputs if self._uses[each] == 1 and self._is_own(each, size)]
            if not fitting and not size:
                continue
            if not fitting:
                self._chunks[output], self._sizes[output] = self._allocator.allocate(size), size
            buffer = fitting[0] if fitting else output
            self._buffers[output] = buffer
            self._uses[buffer] += self._readers[output]

    def _is_own(self, buffer: str, size: int) -> bool:
        """Whether this is a tensor's buffer, and not a variable's, of this size."""
        return buffer in self._bytes and buffer in self._chunks and self._sizes[buffer] == size

    def _update(self, handle: str) -> None:
        """Gives a variable new memory if its old value is still being read."""
        size = self._sizes.get(handle, 0)
        chunks = self._variables.get(size)
        if chunks and self._uses[handle] and handle not in self._chunks:
            self._chunks[handle] = chunks.popleft()
            chunks.append(self._allocator.allocate(size))

    def _finish(self, node: Node) -> None:
        for name, _ in node.outputs:
            self._release(name, 0)
        for name in node.inputs:
            self._release(name, 1)
        for follower in self._followers[node.name]:
            self._waiting[follower.name] -= 1
            if not self._waiting[follower.name]:
                self._queue(follower)

    def _release(self, tensor: str, uses: int) -> None:
        buffer = self._buffers.get(tensor)
        if buffer is None:
            return
        self._uses[buffer] -= uses
        if self._uses[buffer] <= 0 and buffer in self._chunks:
            self._allocator.free(self._chunks.pop(buffer))

    def _record(self, more: int = 0, used: int = 0) -> None:
        """Notes the moment if it is the highest so far; `more` bytes and a higher use are those of a loop's body."""
        used = max(used, self._allocator.used)
        if used > self._peak.used:
            late = sum(self._sizes[each] for each in self._chunks if each in self._late or each not in self._bytes)
            others = sum(self._sizes[each] for each in self._chunks) - late + more
            self._peak = Peak(used=used, gradients=late, activations=others)
