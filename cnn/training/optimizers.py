"""Every optimizer by name; the updates are Keras's."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from cnn.errors import UserError, check_choice

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """A row of the table."""

    keras_class: str
    learning_rate: float
    """The rate used when none is given."""

    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)


OPTIMIZERS = {
    "sgd": Optimizer(keras_class="SGD", learning_rate=0.1),
    "momentum": Optimizer(keras_class="SGD", learning_rate=0.02, arguments={"momentum": 0.9}),
    "adam": Optimizer(keras_class="Adam", learning_rate=1e-3),
    "adagrad": Optimizer(keras_class="Adagrad", learning_rate=0.02),
    "rmsprop": Optimizer(keras_class="RMSprop", learning_rate=1e-3),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How weights are updated."""

    optimizer: str = "adam"
    """sgd, momentum (0.9), adam, adagrad or rmsprop."""

    learning_rate: float | None = None
    """The rate at the start; each optimizer has its own default."""

    l2: float = 0.0
    """L2 regularisation: this times the weight is added to the gradient of every kernel (biases are left alone)."""

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        if self.learning_rate is not None and not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise UserError(f"--learning_rate {self.learning_rate} is not a positive number: give one, 0.001 say.")
        if not (self.l2 >= 0 and math.isfinite(self.l2)):
            raise UserError(f"--l2 {self.l2} is negative or no number: give 0 or a small positive one, 0.0005 say.")

    @property
    def base_learning_rate(self) -> float:
        return OPTIMIZERS[self.optimizer].learning_rate if self.learning_rate is None else self.learning_rate


def build_optimizer(settings: OptimizerSettings, variables: list[Any]) -> "keras.optimizers.Optimizer":
    """The Keras optimizer with its slots for `variables` made."""
    import keras

    row = OPTIMIZERS[settings.optimizer]
    # Named, for Keras would number it, and with it the variables that a checkpoint names.
    name = row.keras_class.lower()
    optimizer = getattr(keras.optimizers, row.keras_class)(settings.base_learning_rate, name=name, **row.arguments)
    optimizer.build(variables)
    return optimizer
