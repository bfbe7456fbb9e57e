"""A training step of any network, of images as small as it takes; and the sums in it that timing could decide."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.eager import context

from cnn.cluster.exchange import Exchange
from cnn.data.dataset import Dataset, Part
from cnn.data.feed import Feed
from cnn.data.order import SampleOrder
from cnn.models.registry import NETWORKS, ModelSettings, build_network
from cnn.training.averaging import make_average
from cnn.training.loss_scale import make_loss_scale
from cnn.training.optimizers import OptimizerSettings, build_optimizer
from cnn.training.precision import PRECISIONS, use_precision
from cnn.training.regularisation import RegularisationSettings
from cnn.training.state import state_variables
from cnn.training.step import TrainingStep

BATCH, CLASSES, RATE = 22, 10, 0.01
REGULARISATION = RegularisationSettings(l2=1e-4, label_smoothing=0.1, clip_norm=1.0, average_decay=0.9)


class SmallestStep:
    """A network's step, its order of samples and its state."""

    def __init__(
        self, network: str, exchange: Exchange, precision: str = "float32", optimizer: str = "momentum", **options: Any
    ) -> None:
        use_precision(precision)
        row = NETWORKS[network]
        shape, group = (row.smallest_image, row.smallest_image, 3), 4 if row.grouped else 1
        random = np.random.default_rng(3)
        images = random.integers(0, 256, (2 * BATCH, *shape)).astype(np.uint8)
        part = Part(images=images, labels=random.integers(0, CLASSES, 2 * BATCH, np.int32))
        names = tuple(map(str, range(CLASSES)))
        dataset = Dataset(
            name="noise",
            class_names=names,
            train=part,
            test=part,
            mean=(0.5,) * 3,
            standard_deviation=(0.25,) * 3,
            checksum="0",
        )
        model = build_network(ModelSettings(model=network), shape, CLASSES, seed=1)
        built = build_optimizer(OptimizerSettings(optimizer=optimizer), REGULARISATION, model.trainable_variables)
        average, scale = make_average(model, REGULARISATION), make_loss_scale(precision)
        self.variables = state_variables(model, built, average, scale)
        self.order = SampleOrder(np.arange(2 * BATCH), BATCH, 1, group, options.pop("micro_batch_size", None))
        self._step = TrainingStep(
            model,
            built,
            Feed(dataset, part, PRECISIONS[precision], resident_mb=100),
            exchange,
            REGULARISATION,
            group_size=group,
            micro_batch_size=self.order.micro_batch_size,
            average=average,
            loss_scale=scale,
            **options,
        )

    def run(self, steps: int, rank: int = 0, world_size: int = 1) -> None:
        self._step.run(self.order.plan(0, steps, rank, world_size), np.full(steps, RATE))


def sums_by_timing(call: Callable[[], object]) -> list[str]:
    """Calls something that compiles, and gives what it then computes with that adds up in an order of its own.

    It looks at TensorFlow's graphs as they are run, after its optimizers. These make AddN of additions, and of an AddN
    of many summands a temporary variable, to which each of them is added when it is there.
    """
    context.context().enable_run_metadata()
    try:
        call()
        metadata = context.context().export_run_metadata()
    finally:
        context.context().disable_run_metadata()
    graphs = [graph for function in metadata.function_graphs for graph in function.partition_graphs]
    assert max(len(graph.node) for graph in graphs) > 100
    return [f"{node.op} {node.name}" for graph in graphs for node in _nodes(graph) if _by_timing(node)]


def _nodes(graph: GraphDef) -> Iterator[NodeDef]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _by_timing(node: NodeDef) -> bool:
    many = node.op in ("AddN", "AccumulateNV2") and node.attr["N"].i > 2
    return many or node.op == "TemporaryVariable"
