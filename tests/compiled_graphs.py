"""TensorFlow's graphs: those that it runs, and all that is in one."""

from collections.abc import Callable, Iterator
from typing import Any

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.eager import context


def functions_run_by(call: Callable[[], object]) -> Any:
    """Calls something that compiles; the functions that it runs, whose `partition_graphs` are as optimized and divided
    among devices."""
    context.context().enable_run_metadata()
    context.context().export_run_metadata()  # drops operations of before, which it keeps even while it is disabled
    try:
        call()
        metadata = context.context().export_run_metadata()
    finally:
        context.context().disable_run_metadata()
    return metadata.function_graphs


def nodes_of(graph: GraphDef) -> Iterator[NodeDef]:
    """The nodes of a graph and of all functions in it."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
