"""A network, its optimizer and everything else that determines a step, assembled alike for every program."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cnn.choices import check_choice, check_counts, one_of
from cnn.cluster.exchange.exchange_cost import WAYS, ExchangeSettings
from cnn.data.dataset import Dataset
from cnn.data.feed.augmentation import AugmentationSettings
from cnn.data.feed.feed_settings import FeedSettings
from cnn.data.order import SampleOrder
from cnn.errors import UserError
from cnn.learner.precision import PRECISIONS, use_precision
from cnn.models.registry import ModelSettings, looks_at_groups
from cnn.optim.frozen_layers import freeze_layers
from cnn.optim.optimizers import OptimizerSettings
from cnn.optim.regularisation import RegularisationSettings

if TYPE_CHECKING:
    import keras

    from cnn.cluster.exchange.exchange import Exchange
    from cnn.cluster.exchange.ordered_exchange import OrderedExchange
    from cnn.cluster.exchange.sharded_kernels import ShardedKernels
    from cnn.cluster.ranks.collectives import Cluster
    from cnn.data.feed.feed import Feed
    from cnn.learner.exchange_selection import ChosenExchange
    from cnn.learner.loss_scale import LossScale
    from cnn.learner.step import TrainingStep
    from cnn.learner.step_memory import StepMemory
    from cnn.optim.averaging import WeightAverage


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepSettings:
    """How a step is computed."""

    reproducible: bool = False
    """Compute the same bits with any number of workers and threads on one kind of processor. Each group of
    --group_size samples is then computed by itself, by one thread; a --global_batch_size that is not a multiple of
    --group_size wastes time."""

    group_size: int = 32
    """Samples that batch normalisation normalises together, and within which mixup and CutMix choose partners; each
    group is on one worker. Without these methods and --reproducible there are no groups."""

    micro_batch_size: int | None = None
    """Maximum number of samples that a worker computes at a time: it computes a larger share of the global batch in
    pieces and sums their gradients before the exchange. Saves memory without changing the result."""

    precision: str = one_of(lambda: PRECISIONS, "float32")
    """float32; tensorfloat32, the same on CPUs, faster and less exact on GPUs; mixed_bfloat16 or mixed_float16, which
    compute most of the network in the shorter type (the latter with dynamic loss scaling); or float64 for studies of
    exactness."""

    xla: bool = False
    """Compile the network with XLA: often faster on GPUs, slower on CPUs."""

    deterministic: bool = False
    """Use only kernels that give the same bits each time, which costs speed on GPUs. On CPUs all do."""

    def __post_init__(self) -> None:
        check_counts(self, "group_size", "micro_batch_size")
        check_choice("precision", self.precision, PRECISIONS)

    @property
    def uses_deterministic_kernels(self) -> bool:
        """Whether TensorFlow must refuse kernels that may give other bits each time, of which CPUs have none."""
        import tensorflow as tf

        return self.deterministic or (self.reproducible and bool(tf.config.get_visible_devices("GPU")))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearnerSettings:
    """Everything that determines a step, except the data and the batch size.

    Raises:
        UserError: the settings contradict each other.
    """

    model: ModelSettings
    augmentation: AugmentationSettings
    optimizer: OptimizerSettings
    regularisation: RegularisationSettings
    exchange: ExchangeSettings
    step: StepSettings
    feed: FeedSettings
    seed: int
    """Seed of the initial weights and the order of samples."""

    def __post_init__(self) -> None:
        if self.step.reproducible and self.exchange.compression != "none":
            raise UserError(
                f"--reproducible excludes --compression {self.exchange.compression}, whose rounding depends on the "
                "number of workers: leave one of them out."
            )
        if self.exchange.exchange == "sharded" and self.against_sharding:
            raise UserError(f"--exchange sharded {self.against_sharding}: leave one of them out.")

    @property
    def possible_ways(self) -> list[str]:
        """The ways of exchange that `--exchange auto` may choose."""
        return [way for way in WAYS if way != "sharded" or not self.against_sharding]

    @property
    def against_sharding(self) -> str:
        """Why kernels cannot be divided among the ranks, as the end of a sentence; empty if they can."""
        if self.step.reproducible:
            return "excludes --reproducible, whose sums must not depend on the number of workers"
        if self.step.xla:
            return "excludes --xla, because workers cannot exchange anything within what XLA compiles"
        if self.exchange.compression != "none":
            return f"excludes --compression {self.exchange.compression}, which rounds gradients, but not outputs"
        return ""


class _ProgramSettings(Protocol):
    """The settings that every program that computes steps has."""

    @property
    def augmentation(self) -> AugmentationSettings: ...

    @property
    def optimizer(self) -> OptimizerSettings: ...

    @property
    def regularisation(self) -> RegularisationSettings: ...

    @property
    def exchange(self) -> ExchangeSettings: ...

    @property
    def feed(self) -> FeedSettings: ...


def learner_settings(program: _ProgramSettings, model: ModelSettings, step: StepSettings, seed: int) -> LearnerSettings:
    """The settings of a program that determine a step.

    Args:
        program: the program's settings.
        model: the network.
        step: how its step is computed.
        seed: seed of the initial weights and the order of samples.
    """
    return LearnerSettings(
        model=model,
        augmentation=program.augmentation,
        optimizer=program.optimizer,
        regularisation=program.regularisation,
        exchange=program.exchange,
        step=step,
        feed=program.feed,
        seed=seed,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learner:
    """A network and everything that updates its weights."""

    settings: LearnerSettings
    order: SampleOrder
    model: "keras.Model"
    optimizer: "keras.optimizers.Optimizer"
    average: "WeightAverage | None"
    loss_scale: "LossScale | None"
    variables: dict[str, Any]
    """The state of all these objects, by name: Keras variables, and a `RowSlice` where each rank holds some rows. The
    network's own kernels of which each rank trains some rows are up to date only after `sharded.gather`."""

    feed: "Feed"
    exchange: "ChosenExchange"

    class_weights: np.ndarray | None
    """Factors of the samples' losses, floating (classes,); None if all are 1."""

    threads: int
    """The number of threads that this rank computes with."""

    def make_step(
        self,
        *,
        exchange: "Exchange | OrderedExchange | None" = None,
        optimizer: Any = None,
        timed: bool = False,
    ) -> "TrainingStep":
        """Makes the training step, optionally with another exchange or optimizer, or timed on each rank."""
        from cnn.cluster.exchange.ordered_exchange import OrderedExchange
        from cnn.learner.reproducible_step import ReproducibleStep
        from cnn.learner.step import TrainingStep

        exchange = exchange or self.exchange.exchange
        order, parts = self.order, (self.model, optimizer or self.optimizer, self.feed)
        options: dict[str, Any] = {
            "group_size": order.group_size,
            "micro_batch_size": order.micro_batch_size,
            "class_weights": self.class_weights,
            "average": self.average,
            "loss_scale": self.loss_scale,
            "xla": self.settings.step.xla,
            "timed": timed and not self.settings.step.uses_deterministic_kernels,  # TensorFlow refuses timestamps then
        }
        if isinstance(exchange, OrderedExchange):
            return ReproducibleStep(
                *parts, exchange, self.settings.regularisation, groups_at_once=self._groups_at_once, **options
            )
        return TrainingStep(*parts, exchange, self.settings.regularisation, **options)

    @property
    def _groups_at_once(self) -> int:
        """The number of groups that the threads may compute at the same time within the limit of a micro-batch."""
        samples = self.order.micro_batch_size
        return self.threads if samples is None else min(self.threads, samples // self.order.group_size)

    def predict_memory(self, step: "TrainingStep", world_size: int) -> "StepMemory":
        """Predicts the memory of a step, which is traced unless it has run, but not run.

        Args:
            step: the step, from `make_step`.
            world_size: the number of workers.
        """
        from cnn.learner.step_memory import predict_memory

        state = {name: getattr(variable, "rows", variable) for name, variable in self.variables.items()}
        others = [variable for name, variable in state.items() if not name.startswith("model/")]
        weights = [*self.model.variables, *(kernel.rows for kernel in self.sharded.values())]
        return predict_memory(step.trace(self.order.width(world_size)), weights, others, self.feed.resident_bytes)

    @property
    def sharded(self) -> "ShardedKernels":
        """The kernels that are divided among the ranks."""
        return self.exchange.exchange.sharded

    def divide(self, arrays: Mapping[str, np.ndarray] | None) -> None:
        """Gives every rank its rows of what is divided; every rank calls it when all have the same network.

        Args:
            arrays: on rank 0, what was restored, by name; empty on other ranks. None on all ranks if nothing was
                restored, so that the average of the weights begins with these.
        """
        from cnn.learner.state import divided

        self.sharded.cut()
        for name, variable in divided(self.variables).items():
            if arrays is not None:
                variable.scatter(arrays.get(name))
            elif name.startswith("average/"):
                variable.assign(self.variables[f"model/{name.removeprefix('average/')}"].value)


def build_model(settings: LearnerSettings, dataset: Dataset) -> "keras.Model":
    """Builds the network for the data set's images, with its initial weights, in the precision of the step.

    Raises:
        UserError: the images are too small for it, or the layers to freeze are not in it.
    """
    import tensorflow as tf

    from cnn.models.registry import build_network

    use_precision(settings.step.precision)
    if settings.step.uses_deterministic_kernels:
        tf.config.experimental.enable_op_determinism()
    model = build_network(settings.model, dataset.input_shape, dataset.classes, settings.seed)
    if settings.optimizer.freeze is not None:
        freeze_layers(model, settings.optimizer.freeze)
    return model


def make_order(
    cluster: "Cluster",
    settings: LearnerSettings,
    model: "keras.Model",
    samples: np.ndarray,
    global_batch_size: int,
    order_class: type[SampleOrder] = SampleOrder,
) -> SampleOrder:
    """Makes the order in which training visits the samples; every rank calls it.

    Samples stay together in groups if a layer of the network, mixup, CutMix or --reproducible depends on groups.

    Args:
        cluster: the workers.
        settings: everything that determines the step.
        model: the network, from `build_model`.
        samples: indices of the training images.
        global_batch_size: samples per step, over all ranks.
        order_class: the class of the order.

    Raises:
        UserError: a batch cannot be divided among the workers, or into micro-batches.
    """
    step = settings.step
    grouped = step.reproducible or looks_at_groups(model) or settings.augmentation.mixes
    group_size = step.group_size if grouped else 1
    with cluster.shared_errors():
        check_batches(global_batch_size, cluster.world_size, group_size, step.micro_batch_size)
    return order_class(samples, global_batch_size, settings.seed, group_size, step.micro_batch_size)


def check_batches(global_batch_size: int, world_size: int, group_size: int, micro_batch_size: int | None) -> None:
    """Raises UserError when a batch cannot be divided among the workers, or into micro-batches.

    Args:
        global_batch_size: samples per step, over all ranks.
        world_size: number of ranks.
        group_size: samples that stay together; 1 without groups.
        micro_batch_size: maximum number of samples that a rank computes at a time; None for all.
    """
    if micro_batch_size is not None and micro_batch_size % group_size:
        raise UserError(
            f"--micro_batch_size {micro_batch_size} is not a multiple of --group_size {group_size}, whose samples "
            "are computed together: give "
            f"{-(-micro_batch_size // group_size) * group_size}, or another group size."
        )
    if -(-global_batch_size // group_size) < world_size:
        part = "sample" if group_size == 1 else f"group of {group_size} samples"
        smaller = "" if group_size == 1 else " a smaller --group_size,"
        raise UserError(
            f"--global_batch_size {global_batch_size} is too small for {world_size} workers: each needs at least "
            f"one {part}, so give a larger batch,{smaller} or start fewer workers."
        )


def assemble(
    cluster: "Cluster",
    settings: LearnerSettings,
    dataset: Dataset,
    order: SampleOrder,
    model: "keras.Model",
    recorded_exchange: Mapping[str, Any] | None = None,
) -> Learner:
    """Assembles a learner; every rank calls it.

    Args:
        cluster: the workers.
        settings: everything that determines the step.
        dataset: the data; the network learns its training part.
        order: the order of samples, from `make_order`.
        model: the network, from `build_model`.
        recorded_exchange: the earlier job's record of its exchange of gradients, if this job continues its run.

    Raises:
        UserError: the settings do not fit each other.
    """
    from cnn.data.feed.feed import Feed
    from cnn.learner.exchange_selection import choose_exchange
    from cnn.learner.loss import balanced_weights
    from cnn.learner.loss_scale import make_loss_scale
    from cnn.learner.ordered_exchange_selection import choose_ordered_exchange
    from cnn.learner.state import state_variables
    from cnn.optim.averaging import make_average
    from cnn.optim.optimizers import build_optimizer

    precision = settings.step.precision
    chosen: ChosenExchange
    if settings.step.reproducible:
        chosen = choose_ordered_exchange(cluster, settings.exchange, model, order)
    else:
        samples, possible = order.width(cluster.world_size), settings.possible_ways
        chosen = choose_exchange(cluster, settings.exchange, model, samples, recorded_exchange, possible)
    sharded = chosen.exchange.sharded
    trained = sharded.trained(model.trainable_variables)
    optimizer = build_optimizer(settings.optimizer, settings.regularisation, trained, sharded)
    average = make_average(model, settings.regularisation, sharded)
    loss_scale = make_loss_scale(precision)
    dtype = PRECISIONS[precision]
    balanced = settings.regularisation.class_weights == "balanced"
    return Learner(
        settings=settings,
        order=order,
        model=model,
        optimizer=optimizer,
        average=average,
        loss_scale=loss_scale,
        variables=state_variables(model, optimizer, average, loss_scale, sharded=sharded),
        feed=Feed(dataset, dataset.train, dtype, settings.augmentation, resident_mb=settings.feed.resident_mb),
        exchange=chosen,
        class_weights=balanced_weights(dataset.train.labels[order.samples], dataset.classes) if balanced else None,
        threads=cluster.cores.threads,
    )
