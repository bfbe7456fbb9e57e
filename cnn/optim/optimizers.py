"""The table of optimizers by name; their updates are Keras's where it has them."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from cnn.choices import check_choice, one_of, own_default
from cnn.errors import UserError
from cnn.optim.regularisation import RegularisationSettings

if TYPE_CHECKING:
    import keras

    from cnn.cluster.exchange.sharded_kernels import ShardedKernels

MIN_LEARNING_RATE = 2.0**-126
"""The smallest normal number of float32: CPUs and GPUs may treat smaller rates as 0, so that nothing is learnt."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """A row of the table."""

    class_name: str
    """Name of the class in keras.optimizers; SGD, Adam, LARS and Lamb are classes of this package."""

    learning_rate: float
    """The default learning rate."""

    weight_decay: float = 0.0
    """The default weight decay."""

    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)

    takes_sharded: bool = False
    """Whether the class has an argument `sharded`, since it uses the norms of whole kernels."""


OPTIMIZERS = {
    "sgd": Optimizer(class_name="SGD", learning_rate=0.1),
    "momentum": Optimizer(class_name="SGD", learning_rate=0.02, arguments={"momentum": 0.9}),
    "nesterov": Optimizer(class_name="SGD", learning_rate=0.02, arguments={"momentum": 0.9, "nesterov": True}),
    "adam": Optimizer(class_name="Adam", learning_rate=1e-3),
    "adagrad": Optimizer(class_name="Adagrad", learning_rate=0.02),
    "rmsprop": Optimizer(class_name="RMSprop", learning_rate=1e-3),
    "adamw": Optimizer(class_name="Adam", learning_rate=1e-3, weight_decay=0.01),
    "lars": Optimizer(class_name="LARS", learning_rate=2.0, arguments={"momentum": 0.9}, takes_sharded=True),
    "lamb": Optimizer(class_name="Lamb", learning_rate=5e-3, takes_sharded=True),
    "lion": Optimizer(class_name="Lion", learning_rate=1e-4),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """The optimizer."""

    optimizer: str = one_of(lambda: OPTIMIZERS, "adam")
    """The rule by which gradients change weights. momentum and nesterov have a momentum of 0.9."""

    learning_rate: float | None = own_default(lambda: f"that of the optimizer: {_rates()}")
    """Initial learning rate."""

    scale_learning_rate: int | None = None
    """Batch size for which the learning rate is meant; the rate is scaled in proportion to --global_batch_size (Goyal
    et al., 2017). Default: no scaling."""

    head_learning_rate: float | None = None
    """Initial learning rate of the classification layers (those whose names end in logits), for fine-tuning; schedules
    and scaling change it in the same proportion as --learning_rate. Default: no other rate."""

    freeze: str | None = None
    """Layers that keep their weights, for fine-tuning: names with commas between them, as jobs/summarize.py lists them,
    in which * stands for any letters and [12] for one of those. Example: conv1,stage[123]*. Batch normalisation is
    frozen with the convolution before it, and then computes as in evaluation."""

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        rate = self.base_learning_rate
        if not (rate > 0 and math.isfinite(rate)):
            raise UserError(f"--learning_rate {rate} is not a positive number: give one, for example 0.001.")
        if rate < MIN_LEARNING_RATE:
            raise UserError(f"--learning_rate {rate} is 0 in float32: give at least {MIN_LEARNING_RATE:.1e}.")
        if self.scale_learning_rate is not None and self.scale_learning_rate < 1:
            raise UserError(
                f"--scale_learning_rate {self.scale_learning_rate} is less than 1: give the batch size that the "
                "learning rate is meant for, for example 256."
            )

        head = self.head_learning_rate
        if head is not None and not (MIN_LEARNING_RATE <= head < math.inf):
            raise UserError(f"--head_learning_rate {head} is not a positive number: give one, for example 0.01.")
        object.__setattr__(self, "learning_rate", rate)  # so that a run's settings.yaml records it

    def learning_rate_for(self, global_batch_size: int) -> float:
        """The learning rate before any schedule, with global batches of this size."""
        scale = 1.0 if self.scale_learning_rate is None else global_batch_size / self.scale_learning_rate
        return self.base_learning_rate * scale

    @property
    def base_learning_rate(self) -> float:
        """The learning rate before scaling and any schedule."""
        return OPTIMIZERS[self.optimizer].learning_rate if self.learning_rate is None else self.learning_rate


def default_rate(optimizer: object) -> float | None:
    """The learning rate of an optimizer for which none is given; None for an unknown one."""
    return OPTIMIZERS[optimizer].learning_rate if isinstance(optimizer, str) and optimizer in OPTIMIZERS else None


def _rates() -> str:
    return ", ".join(f"{name} {row.learning_rate:g}" for name, row in OPTIMIZERS.items())


def build_optimizer(
    settings: OptimizerSettings,
    regularisation: RegularisationSettings,
    variables: list[Any],
    sharded: "ShardedKernels | None" = None,
) -> "keras.optimizers.Optimizer":
    """The Keras optimizer, weight decay included, with its slot variables for `variables` built.

    Args:
        settings: the optimizer.
        regularisation: the weight decay.
        variables: the variables that it updates; of divided kernels, this rank's rows.
        sharded: the kernels that are divided among the ranks.
    """
    import keras

    from cnn.optim.fused import FusedAdam, FusedSGD
    from cnn.optim.head_rate import with_head_rate
    from cnn.optim.lamb import LAMB
    from cnn.optim.lars import LARS

    row = OPTIMIZERS[settings.optimizer]
    own_classes: dict[str, Any] = {"SGD": FusedSGD, "Adam": FusedAdam, "LARS": LARS, "Lamb": LAMB}
    optimizer_class = own_classes.get(row.class_name) or getattr(keras.optimizers, row.class_name)
    if settings.head_learning_rate is not None:
        optimizer_class = with_head_rate(optimizer_class, settings.head_learning_rate / settings.base_learning_rate)
    arguments = dict(row.arguments)
    if sharded and row.takes_sharded:
        arguments["sharded"] = sharded
    decay = row.weight_decay if regularisation.weight_decay is None else regularisation.weight_decay
    optimizer = optimizer_class(
        settings.base_learning_rate,
        weight_decay=decay or None,
        # Without it Keras would number the optimizer, and so change the names of variables in checkpoints.
        name=row.class_name.lower(),
        **arguments,
    )
    optimizer.exclude_from_weight_decay(var_list=[variable for variable in variables if variable.name != "kernel"])
    optimizer.build(variables)
    return optimizer
