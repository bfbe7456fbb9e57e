"""When the tensors of a graph take memory."""

import collections

import tensorflow as tf

from cnn.learner.graph_memory import GraphRun, Node, Peak, nodes_of
from cnn.learner.pool_allocator import PoolAllocator

SIZE = 100_000
"""Bytes; small enough to be allocated exactly, large enough for a costly operation."""


def node(name: str, op: str, *inputs: str, size: int = SIZE, after: tuple[str, ...] = ()) -> Node:
    needed = {each.partition(":")[0] for each in inputs if not each.startswith("handle")} | set(after)
    return Node(name=name, op=op, inputs=inputs, after=frozenset(needed), outputs=((f"{name}:0", size),))


def run(*nodes: Node, **more) -> Peak:
    return GraphRun(nodes, PoolAllocator(), more.pop("variables", {}), **more).run()


def test_a_tensor_is_freed_when_its_last_reader_has_finished() -> None:
    chain = [node("a", "MatMul"), node("b", "MatMul", "a:0"), node("c", "MatMul", "b:0"), node("d", "MatMul", "c:0")]
    assert run(*chain).used == 2 * SIZE
    kept = node("e", "MatMul", "a:0", "d:0")
    assert run(*chain, kept).used == 3 * SIZE


def test_an_elementwise_operation_uses_the_memory_of_an_input_that_nothing_else_reads() -> None:
    a, relu = node("a", "Conv2D"), node("b", "Relu", "a:0")
    assert run(a, relu).used == SIZE
    assert run(a, relu, node("c", "Conv2D", "a:0")).used == 3 * SIZE
    assert run(a, node("b", "Reshape", "a:0"), node("c", "Relu", "b:0")).used == SIZE
    assert run(a, node("b", "ReluGrad", "a:0")).used == SIZE
    assert run(a, node("b", "AvgPool", "a:0")).used == 2 * SIZE


def test_two_costly_operations_run_at_a_time() -> None:
    apart = [node(name, "MatMul") for name in "abcd"]
    assert run(*apart).used == 2 * SIZE


def test_a_variable_that_is_updated_while_it_is_read_takes_memory_twice() -> None:
    read = node("read", "ReadVariableOp", "handle")
    gradient = node("gradients/g", "MatMul")
    reader = node("gradients/r", "MatMul", "read:0", after=("gradients/g",))
    update = node("update", "ResourceApplyGradientDescent", "handle", "gradients/g:0", size=0, after=("read",))
    for late, expected in ((frozenset({"gradients/r"}), 2 * SIZE), (frozenset(), 3 * SIZE)):
        allocator = PoolAllocator()
        variables = {SIZE: collections.deque([allocator.allocate(SIZE)])}
        nodes = [read, gradient, reader, Node(**vars(update) | {"after": update.after | late})]
        peak = GraphRun(nodes, allocator, variables).run()
        assert allocator.used == SIZE
        if late:
            assert peak == Peak(used=SIZE + expected, gradients=SIZE, activations=SIZE)
        else:
            assert peak.used == SIZE + expected


def test_a_loops_body_runs_beside_what_is_alive() -> None:
    body = [node("x", "MatMul"), node("y", "MatMul", "x:0")]
    assert run(node("a", "MatMul"), node("loop", "While", "a:0", size=0), loop=body).used == 3 * SIZE


def test_a_graph_is_read_without_what_tensorflow_removes() -> None:
    variable = tf.Variable(tf.ones((100, 100)))

    @tf.function(autograph=False)
    def step(x):
        first, second = tf.identity_n([tf.matmul(x, x), tf.matmul(x, variable)])
        tf.matmul(x, first, name="unused")
        variable.assign_sub(second)
        return tf.reduce_sum(first)

    graph = step.get_concrete_function(tf.TensorSpec((100, 100))).graph
    operations = collections.Counter(each.op for each in nodes_of(graph))
    assert operations["MatMul"] == 2
    assert "IdentityN" not in operations
    assert operations["AssignSubVariableOp"] == 1
    # One product at a time, and the sum of the first.
    assert GraphRun(nodes_of(graph), PoolAllocator(), {}).run().used == 40_004
