"""What keeps a network from learning its training images by heart, besides dropout and augmentation."""

import dataclasses
import math

from cnn.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegularisationSettings:
    """What keeps weights small and answers unsure."""

    l2: float = 0.0
    """L2 regularisation: this times the weight is added to the gradient of every kernel (biases and normalisations are
    left alone)."""

    weight_decay: float | None = None
    """Decoupled weight decay: in each step every kernel loses this times the learning rate of itself (Loshchilov and
    Hutter, 2017); with lars, this times the kernel is added to the gradient. Left out, 0.01 with adamw, else 0."""

    label_smoothing: float = 0.0
    """The part of each label that is spread over all classes (Szegedy et al., 2015); 0.1 is usual."""

    clip_norm: float | None = None
    """Scale gradients down so that all together are no longer than this."""

    average_decay: float = 0.0
    """Evaluate, and keep in the end, a moving average of the weights, of which each step leaves this part; 0.999 say.
    Early on, step t leaves (1 + t) / (10 + t) if that is less."""

    def __post_init__(self) -> None:
        for name in ("l2", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise UserError(
                    f"--{name} {value} is negative or no number: give 0 or a small positive one, 0.0005 say."
                )
        for name in ("label_smoothing", "average_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)} is not in [0, 1): give 0, or a number below 1.")
        if self.clip_norm is not None and not (self.clip_norm > 0 and math.isfinite(self.clip_norm)):
            raise UserError(f"--clip_norm {self.clip_norm} is not a positive number: give one, 1 say.")
