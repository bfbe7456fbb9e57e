"""Where the time of a training step goes: the measurements with one number of workers."""

import dataclasses
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cnn.cluster.exchange_cost import ExchangeSettings, Rates
from cnn.data.augmentation import AugmentationSettings
from cnn.data.order import Plan, SampleOrder
from cnn.data.registry import DataSettings, open_dataset
from cnn.errors import UserError
from cnn.learner.learner import LearnerSettings, StepSettings, assemble, build_model, learner_settings, make_order
from cnn.measuring.measured import Measured, read_measured
from cnn.measuring.step_prediction import Costs, Layer, Predicted, parse_rate, predict
from cnn.models.registry import ModelSettings
from cnn.optim.optimizers import OptimizerSettings
from cnn.optim.regularisation import RegularisationSettings
from cnn.tensor import Tensor

if TYPE_CHECKING:
    import keras

    from cnn.cluster.collectives import Cluster
    from cnn.models.layer_table import LayerRow

_SEED = 1
_USUAL_LATENCY = 20.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    """What is measured."""

    workers: list[int] = dataclasses.field(default_factory=lambda: [1])
    """The numbers of workers."""

    scaling: Literal["weak", "strong"] = "weak"
    """weak: --batch_size is that of each worker; strong: that of all together."""

    batch_size: int = 32
    """Samples of a step."""

    benchmark_steps: int = 4
    """Steps of one measurement; small networks need some hundred."""

    repeats: int = 3
    """Measurements of each kind, in turn; their median counts."""

    launcher: str = "mpirun --oversubscribe"
    """mpirun or horovodrun, and with which options of launch/mpirun.sh it starts workers: 'mpirun -H a:4,b:4', say."""

    predict: list[int] = dataclasses.field(default_factory=list)
    """Numbers of workers to predict the speed of, from what is measured."""

    link: str = "25gbit"
    """Rate of the predicted workers' links: 100mbit, 25gbit."""

    link_latency: float | None = None
    """Microseconds of a message of nothing between two predicted workers; when not given, that of --costs, or 20."""

    costs: str | None = None
    """File of --output, of this network or another with several workers, whose network was not what held them up: it
    tells what a message and a byte cost the computers; when not given, the most of --workers tell."""

    report: str | None = None
    """Folder to write benchmark.json and benchmark.png to."""

    output: str | None = None
    """Measure with the workers that a launcher has started, and write the result to this file."""

    def __post_init__(self) -> None:
        parse_rate(self.link)
        if self.link_latency is not None and not 0 <= self.link_latency < 1e6:
            raise UserError(f"--link_latency {self.link_latency} is not a number of microseconds: give one, 20 say.")
        if self.costs is not None and read_measured(Path(self.costs)).rates is None:
            raise UserError(f"{self.costs} was measured with one worker, who sends nothing: measure with two or more.")
        for count in (*self.workers, *self.predict, self.batch_size, self.benchmark_steps, self.repeats):
            if count < 1:
                raise UserError(f"{count} is not a number of workers, samples or steps: give whole numbers from 1 on.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All that is set for a benchmark."""

    benchmark: BenchmarkSettings
    model: ModelSettings
    data: DataSettings
    augmentation: AugmentationSettings
    optimizer: OptimizerSettings
    regularisation: RegularisationSettings
    exchange: ExchangeSettings
    step: StepSettings

    @property
    def learner(self) -> LearnerSettings:
        """Those of them that shape a step."""
        return learner_settings(self, self.model, self.step, _SEED)


class _NoUpdate:
    """Takes the place of an optimizer: gradients are computed, and that is all."""

    def __init__(self, optimizer: "keras.optimizers.Optimizer") -> None:
        import tensorflow as tf

        self.learning_rate = optimizer.learning_rate
        self._sink = tf.Variable(0.0, dtype=optimizer.learning_rate.dtype)

    def apply(self, gradients: list[Tensor], variables: list[Tensor]) -> None:
        import tensorflow as tf

        # A number of each, or what gives nothing would not be computed.
        firsts = tf.stack([tf.cast(tf.reshape(each, [-1])[0], self._sink.dtype) for each in gradients])
        self._sink.assign(tf.reduce_sum(firsts))


def measure(cluster: "Cluster", settings: Settings) -> Measured:
    """Measures with the workers there are; every rank calls it, and has the same result."""
    import tensorflow as tf

    from cnn.cluster.exchange import LocalExchange
    from cnn.cluster.link import measure_rates
    from cnn.models.layer_table import layer_rows

    tf.get_logger().setLevel("ERROR")  # it warns of compiling several steps, which is what is done here
    benchmark, world_size = settings.benchmark, cluster.world_size
    dataset = cluster.done_everywhere(lambda: open_dataset(settings.data))
    size = benchmark.batch_size * (world_size if benchmark.scaling == "weak" else 1)
    network = build_model(settings.learner, dataset)
    order = make_order(cluster, settings.learner, network, np.arange(len(dataset.train.labels)), size)
    learner = assemble(cluster, settings.learner, dataset, order, network)

    def step_with(**replaced: Any) -> Callable[[Plan], Tensor]:
        step = learner.make_step(**replaced)
        return lambda plan: step.run(plan, np.zeros(len(plan.counts)))

    local = LocalExchange()
    kinds: dict[str, Callable[[Plan], Tensor]] = {
        "step": step_with(),
        "no exchange": step_with(exchange=local),
        "no update": step_with(exchange=local, optimizer=_NoUpdate(learner.optimizer)),
        "input": _input_only(learner.feed, order),
    }
    seconds = _measure_in_turn(cluster, kinds, order, benchmark)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    rows = layer_rows(network)
    arithmetic = 6 * sum(row.multiply_adds for row in rows) * size / world_size
    peak = _peak_rate(cluster, settings.step.precision)
    step_times = seconds["step"]
    rates = None
    if world_size > 1:  # of small networks the choice of the exchange does not measure them
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
        peak_bytes=max(cluster.gather(_peak_bytes())),
        share_of_peak=arithmetic / median["step"] / peak,
        rates=rates,
        factored=sorted(learner.exchange.exchange.factored),
        multiply_adds_per_second=peak / 2,
        layers=_layers(network, rows),
    )


def predicted(settings: BenchmarkSettings, found: Sequence[Measured], *, factors: bool) -> list[Predicted]:
    """What the model makes of the measurements, those with more workers last.

    Args:
        settings: workers and link.
        found: measured.
        factors: whether fully connected layers may be exchanged so.
    """
    one, exchanged = found[0], found[-1]
    if settings.costs is not None:
        exchanged = read_measured(Path(settings.costs))
    rates = exchanged.rates
    latency = settings.link_latency
    if latency is None:
        latency = 1e6 * rates.latency / (2 * (exchanged.workers - 1)) if rates else _USUAL_LATENCY
    costs = Costs(
        compute_seconds=one.compute_seconds + one.input_seconds,
        update_seconds=one.update_seconds,
        latency=latency / 1e6,
        link_rate=parse_rate(settings.link),
        host_seconds_per_byte=1 / rates.sent_per_second if rates else 0.0,
        multiply_adds_per_second=one.multiply_adds_per_second,
    )
    samples = one.global_batch_size // one.workers
    return [predict(one.layers, costs, samples=samples, workers=each, factors=factors) for each in settings.predict]


def _layers(network: "keras.Model", rows: "Sequence[LayerRow]") -> list[Layer]:
    from cnn.learner.exchange_selection import dense_kernels

    kernels = {kernel.path.partition("/")[0]: kernel for kernel in dense_kernels(network)}
    held = {layer.name: sum(int(np.prod(each.shape)) for each in layer.variables) for layer in network.layers}
    return [
        Layer(name=row.name, parameters=held[row.name], multiply_adds=row.multiply_adds, kernel=kernels.get(row.name))
        for row in rows
        if held[row.name]
    ]


def _input_only(feed: Any, order: SampleOrder) -> Callable[[Plan], Tensor]:
    """Makes the batches of a plan, and nothing of them."""
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
    cluster: "Cluster", kinds: dict[str, Callable[[Plan], Tensor]], order: SampleOrder, benchmark: BenchmarkSettings
) -> dict[str, list[float]]:
    """Seconds of a step of each kind, one by one in turn, so that what disturbs the machine disturbs all alike."""
    steps = benchmark.benchmark_steps
    plan = order.plan(0, steps, cluster.rank, cluster.world_size)
    for run in kinds.values():  # compiled, and caches warm
        run(plan)
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(benchmark.repeats):
        for name, run in kinds.items():
            cluster.gather(None)  # so that all begin together
            begin = time.perf_counter()
            run(plan)
            seconds[name].append(max(cluster.gather(time.perf_counter() - begin)) / steps)
    return seconds


def _peak_bytes() -> int:
    import tensorflow as tf

    if tf.config.get_visible_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _peak_rate(cluster: "Cluster", precision: str) -> float:
    """Arithmetic operations a second of a large product, on the slowest rank's device."""
    import tensorflow as tf

    from cnn.cluster.product_rate import product_rate

    side = 8192 if tf.config.get_visible_devices("GPU") else 2048
    return float(min(cluster.gather(product_rate(side, precision.removeprefix("mixed_")))))
