"""Regularisation, class weights, gradient clipping and weight averaging; dropout and augmentation have their own
settings."""

import dataclasses
import math

from cnn.choices import check_choice, one_of
from cnn.errors import UserError

_CLASS_WEIGHTS = ("equal", "balanced")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegularisationSettings:
    """Regularisation."""

    l2: float = 0.0
    """L2 regularisation: adds l2 x kernel to each kernel's gradient; biases and normalisation weights are excluded."""

    weight_decay: float | None = None
    """Decoupled weight decay (Loshchilov and Hutter, 2017): each step subtracts weight_decay x learning rate x kernel
    from each kernel. With lars, weight_decay x kernel is added to the gradient instead. Default: 0.01 with adamw, else
    0."""

    label_smoothing: float = 0.0
    """Fraction of each label that is spread evenly over all classes (Szegedy et al., 2015); 0.1 is usual."""

    class_weights: str = one_of(lambda: _CLASS_WEIGHTS, "equal")
    """Factor of each sample's training loss. balanced: number of training samples / (number of classes x number of
    training samples of the sample's class), so that rare classes count as much as frequent ones."""

    clip_norm: float | None = None
    """Maximum global L2 norm of the gradients, which are scaled down if it is exceeded. Default: no limit."""

    average_decay: float = 0.0
    """Evaluate a moving average of the weights, and keep it at the end. Its decay at step t is min(average_decay,
    (1 + t) / (10 + t)); 0.999 is usual. 0: no average."""

    def __post_init__(self) -> None:
        check_choice("choice for class_weights", self.class_weights, _CLASS_WEIGHTS)
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
