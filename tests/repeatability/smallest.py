"""A training step of any network, of images as small as it takes; and the sums in it that timing could decide."""

from collections.abc import Callable

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef

from cnn.cluster.exchange.exchange import Exchange
from cnn.cluster.ranks.collectives import Cluster
from cnn.models.registry import NETWORKS

from ..compiled_graphs import functions_run_by, nodes_of
from ..noise import noise_learner

BATCH, RATE = 22, 0.01
REGULARISATION = ("--l2", 1e-4, "--label_smoothing", 0.1, "--clip_norm", 1, "--average_decay", 0.9)


class SmallestStep:
    """A network's step, its order of samples and its state."""

    def __init__(self, network: str, cluster: Cluster, *settings: object, exchange: Exchange | None = None) -> None:
        usual = ("--model", network, "--optimizer", "momentum", "--group_size", 4, *REGULARISATION)
        if exchange is not None:
            usual = (*usual, "--exchange", "allreduce")  # or it might divide kernels, by the rates that it measures
        learner = noise_learner(cluster, *usual, *settings, side=NETWORKS[network].smallest_image, batch=BATCH)
        self.variables, self.order = learner.variables, learner.order
        self._step = learner.make_step(exchange=exchange)

    def run(self, steps: int, rank: int = 0, world_size: int = 1) -> None:
        self._step.run(self.order.plan(0, steps, rank, world_size), np.full(steps, RATE))


def sums_by_timing(call: Callable[[], object]) -> list[str]:
    """Calls something that compiles, and gives what it then computes with that adds up in an order of its own.

    It looks at TensorFlow's graphs as they are run, after its optimizers. These make AddN of additions, and of an AddN
    of many summands a temporary variable, to which each of them is added when it is there.
    """
    graphs = [graph for function in functions_run_by(call) for graph in function.partition_graphs]
    assert max(len(graph.node) for graph in graphs) > 100
    return [f"{node.op} {node.name}" for graph in graphs for node in nodes_of(graph) if _by_timing(node)]


def _by_timing(node: NodeDef) -> bool:
    many = node.op in ("AddN", "AccumulateNV2") and node.attr["N"].i > 2
    return many or node.op == "TemporaryVariable"
