"""The settings that determine a training step, the same in every program."""

import dataclasses
from typing import Protocol

from cnn.choices import check_choice, check_counts, one_of
from cnn.cluster.exchange.exchange_cost import WAYS, ExchangeSettings
from cnn.data.feed.augmentation import AugmentationSettings
from cnn.data.feed.feed_settings import FeedSettings
from cnn.errors import UserError
from cnn.learner.precision import PRECISIONS
from cnn.models.registry import ModelSettings
from cnn.optim.optimizers import OptimizerSettings
from cnn.optim.regularisation import RegularisationSettings


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
