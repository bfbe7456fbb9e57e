"""The exchange between workers that are only planned, and the bytes that it counts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnn.cluster.exchange.exchange import GradientExchange
from cnn.cluster.exchange.exchange_cost import Kernel, allreduce_bytes, sharded_bytes
from cnn.cluster.exchange.sharded_kernel import shard
from cnn.cluster.exchange.sharded_kernels import ShardedKernels
from cnn.cluster.ranks.planned_cluster import PlannedCluster


@pytest.mark.parametrize("workers", [2, 3, 7])
@pytest.mark.parametrize("bucket_bytes", [1000, 2**24])
def test_the_messages_of_a_step_are_counted(workers: int, bucket_bytes: int) -> None:
    exchange = GradientExchange(PlannedCluster(workers), frozenset({"kernel"}), bucket_bytes)

    @tf.function(autograph=False)
    def step(first, second, x, dy):
        sums, _ = exchange.sums([first, second])
        return [*sums, exchange.product("kernel", x, dy, tf.float32)]

    shapes = [(100, 30), (7,), (5, 40), (5, 60)]
    graph = step.get_concrete_function(*(tf.TensorSpec(shape) for shape in shapes))
    assert [tuple(each.shape) for each in graph.outputs] == [(100, 30), (7,), (40, 60)]
    summed, gathered = allreduce_bytes(3007, workers, 4), (workers - 1) * 5 * 100 * 4
    assert exchange.sent_bytes == pytest.approx(summed + gathered, abs=20)  # of rounding


def test_every_worker_is_this_process() -> None:
    cluster = PlannedCluster(4)
    assert cluster.gather("a") == ["a"] * 4
    assert (cluster.world_size, cluster.is_chief, len(cluster.peers)) == (4, True, 4)
    assert cluster.done_everywhere(lambda: 5) == 5


@pytest.mark.parametrize(("workers", "micro_batches"), [(2, 1), (3, 1), (3, 4)])
def test_the_messages_of_a_sharded_kernel_are_those_of_the_formula(workers: int, micro_batches: int) -> None:
    cluster = PlannedCluster(workers)
    kernel = shard(cluster, keras.Variable(np.ones((40, 60)), name="kernel"))
    sharded = ShardedKernels([kernel], cluster)
    sharded.micro_batches = micro_batches

    @tf.function(autograph=False)
    def step(x):
        columns, partial, outputs = kernel(x)
        return [columns, outputs, *tf.gradients(outputs, [x, partial])]

    graph = step.get_concrete_function(tf.TensorSpec((5, 40)))
    rows = -(-40 // workers)
    shapes = [(5 * workers, rows), (5, 60), (5, 40), (5 * workers, 60)]
    assert [tuple(each.shape) for each in graph.outputs] == shapes
    sent = GradientExchange(cluster, sharded=sharded).sent_bytes
    assert sent == sharded_bytes(Kernel(path="kernel", inputs=40, outputs=60), 5 * micro_batches, workers, 4)
