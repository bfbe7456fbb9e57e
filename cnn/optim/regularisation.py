"""Settings against overfitting, besides dropout and augmentation."""

import dataclasses
import math

from cnn.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegularisationSettings:
    """Regularisation."""

    l2: float = 0.0
    """L2 regularisation: this times the kernel is added to every kernel's gradient (not for biases and normalisation
    weights)."""

    weight_decay: float | None = None
    """Decoupled weight decay: each step subtracts this times the learning rate times the kernel from every kernel
    (Loshchilov and Hutter, 2017); with lars, this times the kernel is added to the gradient. Default: 0.01 with adamw,
    else 0."""

    label_smoothing: float = 0.0
    """Fraction of each label that is spread evenly over all classes (Szegedy et al., 2015); 0.1 is usual."""

    clip_norm: float | None = None
    """Maximum joint norm of all gradients; larger ones are scaled down. Default: no limit."""

    average_decay: float = 0.0
    """Evaluate, and keep at the end, a moving average of the weights with this decay per step, for example 0.999. Early
    on, step t uses (1 + t) / (10 + t) if that is less. 0: no average."""

    def __post_init__(self) -> None:
        for name in ("l2", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise UserError(
                    f"--{name} {value} is negative or not finite: give 0 or a small number, for example 0.0005."
                )
        for name in ("label_smoothing", "average_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)} is not in [0, 1): give 0, or a number below 1.")
        if self.clip_norm is not None and not (self.clip_norm > 0 and math.isfinite(self.clip_norm)):
            raise UserError(f"--clip_norm {self.clip_norm} is not a positive number: give one, for example 1.")
