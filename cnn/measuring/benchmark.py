"""Benchmark of a training step and its parts with one number of workers."""

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.cluster.exchange.exchange_cost import Rates
from cnn.data.order import Plan, SampleOrder
from cnn.data.sources.registry import open_dataset
from cnn.learner.assembly import assemble, build_model, make_order
from cnn.measuring.benchmark_settings import BenchmarkSettings, Settings
from cnn.measuring.measured import Measured, read_measured
from cnn.measuring.step_prediction import Costs, Layer, Predicted, parse_rate, predict
from cnn.monitoring.terminal.benchmark_progress import BenchmarkProgress
from cnn.tensor import Tensor

if TYPE_CHECKING:
    import keras

    from cnn.cluster.ranks.collectives import Cluster
    from cnn.learner.step import TrainingStep

DEFAULT_LATENCY = 20.0  # microseconds


class _NoUpdate:
    """Replaces the optimizer: gradients are computed, but not applied."""

    def __init__(self, optimizer: "keras.optimizers.Optimizer") -> None:
        import tensorflow as tf

        self.learning_rate = optimizer.learning_rate
        self._sink = tf.Variable(0.0, dtype=optimizer.learning_rate.dtype)

    def apply(self, gradients: list[Tensor], variables: list[Tensor]) -> None:
        import tensorflow as tf

        # Use one number of each gradient, or TensorFlow would prune its computation.
        firsts = tf.stack([tf.cast(tf.reshape(each, [-1])[0], self._sink.dtype) for each in gradients])
        self._sink.assign(tf.reduce_sum(firsts))


def measure(cluster: "Cluster", settings: Settings) -> Measured:
    """Measures with the current workers; every rank calls it and gets the same result."""
    import tensorflow as tf

    from cnn.cluster.exchange.link import measure_rates
    from cnn.models.layer_table import layer_rows

    tf.get_logger().setLevel("ERROR")  # it would warn that several steps are compiled, which is intended
    benchmark, world_size = settings.benchmark, cluster.world_size
    progress = BenchmarkProgress(world_size, visible=cluster.is_chief)
    dataset = cluster.done_everywhere(lambda: open_dataset(settings.data))
    size = benchmark.batch_size * (world_size if benchmark.scaling == "weak" else 1)
    network = build_model(settings.learner, dataset)
    order = make_order(cluster, settings.learner, network, np.arange(len(dataset.train.labels)), size)
    learner = assemble(cluster, settings.learner, dataset, order, network)

    def step_with(**replaced: Any) -> Callable[[Plan], Tensor]:
        step = learner.make_step(**replaced)
        return lambda plan: step.run(plan, np.zeros(len(plan.counts)))

    local = learner.exchange.exchange.alone()
    complete = learner.make_step()
    variants: dict[str, Callable[[Plan], Tensor]] = {
        "step": lambda plan: complete.run(plan, np.zeros(len(plan.counts))),
        "no exchange": step_with(exchange=local),
        "no update": step_with(exchange=local, optimizer=_NoUpdate(learner.optimizer)),
        "input": _input_only(learner.feed, order),
    }
    seconds = _measure_in_turn(cluster, variants, order, benchmark, progress)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    rows = layer_rows(network)
    operations = 6 * sum(row.multiply_adds for row in rows) * size / world_size
    peak = peak_rate(cluster, settings.step.precision)
    step_times = seconds["step"]
    rates = None
    if world_size > 1:  # for small networks the choice of the exchange has not measured them
        known = learner.exchange.record.get("rates")
        rates = measure_rates(cluster) if known is None else Rates(**known)
    return Measured(
        workers=world_size,
        global_batch_size=size,
        images_per_second=size / median["step"],
        spread=(max(step_times) - min(step_times)) / median["step"],
        step_seconds=median["step"],
        input_seconds=median["input"],
        compute_seconds=max(0.0, median["no update"] - median["input"]),
        update_seconds=max(0.0, median["no exchange"] - median["no update"]),
        exchange_seconds=max(0.0, median["step"] - median["no exchange"]) if world_size > 1 else 0.0,
        sent_bytes=learner.exchange.sent_bytes,
        peak_bytes=max(cluster.gather(_peak_bytes(complete))),
        share_of_peak=operations / median["step"] / peak,
        rates=rates,
        factored=sorted(learner.exchange.exchange.factored),
        sharded=sorted(learner.sharded),
        multiply_adds_per_second=peak / 2,
        layers=layers_of(network),
    )


def predicted(settings: BenchmarkSettings, found: Sequence[Measured], exchange: str) -> list[Predicted]:
    """Predicts steps from the measurements by the model of cnn.measuring.step_prediction.

    Args:
        settings: numbers of workers and link.
        found: measurements in ascending order of workers.
        exchange: the way in which fully connected layers are exchanged, as of `ExchangeSettings`.
    """
    smallest, largest = found[0], found[-1]
    if settings.costs is not None:
        largest = read_measured(Path(settings.costs))
    rates = largest.rates
    latency = settings.link_latency
    if latency is None:
        latency = 1e6 * rates.latency / (2 * (largest.workers - 1)) if rates else DEFAULT_LATENCY
    costs = Costs(
        compute_seconds=smallest.compute_seconds + smallest.input_seconds,
        update_seconds=smallest.update_seconds,
        latency=latency / 1e6,
        link_rate=parse_rate(settings.link),
        host_seconds_per_byte=1 / rates.sent_per_second if rates else 0.0,
        multiply_adds_per_second=smallest.multiply_adds_per_second,
    )
    samples = smallest.global_batch_size // smallest.workers
    return [
        predict(smallest.layers, costs, samples=samples, workers=each, exchange=exchange) for each in settings.predict
    ]


def layers_of(network: "keras.Model") -> list[Layer]:
    """The network's layers with weights, as the model of a step's time needs them."""
    from cnn.learner.exchange_selection import dense_kernels
    from cnn.models.layer_table import layer_rows
    from cnn.optim.frozen_layers import changing_variables

    sent = {variable.path for variable in changing_variables(network)}
    kernels = {kernel.path.partition("/")[0]: kernel for kernel in dense_kernels(network)}
    sizes = {
        layer.name: sum(int(np.prod(each.shape)) for each in layer.variables if each.path in sent)
        for layer in network.layers
    }
    return [
        Layer(name=row.name, parameters=sizes[row.name], multiply_adds=row.multiply_adds, kernel=kernels.get(row.name))
        for row in layer_rows(network)
        if sizes[row.name] or row.multiply_adds
    ]


def _input_only(feed: Any, order: SampleOrder) -> Callable[[Plan], Tensor]:
    """Returns a function that makes the batches of a plan without training on them."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def make(images: Tensor, labels: Tensor, keys: Tensor, weights: Tensor) -> Tensor:
        total = tf.zeros((), feed.dtype)
        for step in tf.range(tf.shape(keys)[0]):
            row = (values[step] for values in (images, labels, keys, weights))
            total += tf.reduce_sum(feed.training_batch(*row, order.group_size).images[:, 0, 0])
        return total

    def run(plan: Plan) -> Tensor:
        weights = tf.constant(plan.weights, feed.dtype)
        return make(*feed.read(plan.indices), tf.constant(plan.keys), weights).numpy()

    return run


def _measure_in_turn(
    cluster: "Cluster",
    variants: dict[str, Callable[[Plan], Tensor]],
    order: SampleOrder,
    benchmark: BenchmarkSettings,
    progress: BenchmarkProgress,
) -> dict[str, list[float]]:
    """Measures seconds per step of each variant in turn, so that other load on the machine affects all alike."""
    steps = benchmark.benchmark_steps
    plan = order.plan(0, steps, cluster.rank, cluster.world_size)
    progress.start(len(variants) * (1 + benchmark.repeats))
    for name, run in variants.items():  # compile, and warm the caches
        progress.begin(f"compiling '{name}'")
        run(plan)
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(benchmark.repeats):
        for name, run in variants.items():
            progress.begin(f"measuring '{name}', {repeat + 1} of {benchmark.repeats}")
            cluster.gather(None)  # all ranks start together
            begin = time.perf_counter()
            run(plan)
            seconds[name].append(max(cluster.gather(time.perf_counter() - begin)) / steps)
    progress.close()
    return seconds


def _peak_bytes(step: "TrainingStep") -> int:
    import tensorflow as tf

    if tf.config.get_visible_devices("GPU") and step.peak_bytes is not None:
        return step.peak_bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_rate(cluster: "Cluster", precision: str) -> float:
    """Measures arithmetic operations per second of a large matrix product, on the slowest rank's device."""
    import tensorflow as tf

    from cnn.cluster.devices.product_rate import product_rate

    side = 8192 if tf.config.get_visible_devices("GPU") else 2048
    return float(min(cluster.gather(product_rate(side, precision.removeprefix("mixed_")))))
