"""Learning rates as pure functions of the step."""

import dataclasses
from collections.abc import Callable

import numpy as np

from cnn.errors import UserError, check_choice


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """How the learning rate changes while training."""

    schedule: str = "constant"
    """constant, or exponential: multiplied by decay_rate every decay_epochs, in small parts each step."""

    decay_rate: float = 0.5
    """Factor of the exponential schedule."""

    decay_epochs: float = 10.0
    """Epochs over which the exponential schedule multiplies the rate by decay_rate once."""

    def __post_init__(self) -> None:
        check_choice("schedule", self.schedule, SCHEDULES)
        if not 0 < self.decay_rate <= 1:
            raise UserError(f"--decay_rate {self.decay_rate} is not in (0, 1]: give the factor of a decay, 0.5 say.")
        if not self.decay_epochs > 0:
            raise UserError(f"--decay_epochs {self.decay_epochs} is not positive: give a number of epochs, 10 say.")


def _constant(settings: ScheduleSettings, epochs: np.ndarray) -> np.ndarray:
    return np.ones_like(epochs)


def _exponential(settings: ScheduleSettings, epochs: np.ndarray) -> np.ndarray:
    return np.power(settings.decay_rate, epochs / settings.decay_epochs)


SCHEDULES: dict[str, Callable[[ScheduleSettings, np.ndarray], np.ndarray]] = {
    "constant": _constant,
    "exponential": _exponential,
}


def learning_rates(
    settings: ScheduleSettings, base: float, first_step: int, steps: int, steps_per_epoch: int
) -> np.ndarray:
    """The rates of some successive steps, float64 (steps,), where `base` is the rate before any change."""
    epochs = np.arange(first_step, first_step + steps, dtype=np.float64) / steps_per_epoch
    return base * SCHEDULES[settings.schedule](settings, epochs)
