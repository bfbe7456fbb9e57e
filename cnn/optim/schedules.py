"""Learning rates as pure functions of the step."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from cnn.choices import check_choice, one_of
from cnn.errors import UserError

_SHORT = 100.0
"""Epochs, besides those of the warm-up, of a training that is compared with one twice as long."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """How the learning rate changes while training."""

    schedule: str = one_of(lambda: SCHEDULES, "constant")
    """constant; exponential: multiplied by decay_rate every decay_epochs, in small parts each step; step: the same, at
    once; cosine: down to zero at the end, along half a cosine (Loshchilov and Hutter, 2016)."""

    decay_rate: float = 0.5
    """Factor of the exponential schedule and of step."""

    decay_epochs: float = 10.0
    """Epochs over which the exponential schedule and step multiply the rate by decay_rate once."""

    warmup_epochs: float = 0.0
    """Epochs at the start in which the rate rises from zero, linearly, to what it would be (Goyal et al., 2017)."""

    def __post_init__(self) -> None:
        check_choice("schedule", self.schedule, SCHEDULES)
        if not 0 < self.decay_rate <= 1:
            raise UserError(f"--decay_rate {self.decay_rate} is not in (0, 1]: give the factor of a decay, 0.5 say.")
        if not self.decay_epochs > 0:
            raise UserError(f"--decay_epochs {self.decay_epochs} is not positive: give a number of epochs, 10 say.")
        if not (self.warmup_epochs >= 0 and math.isfinite(self.warmup_epochs)):
            raise UserError(f"--warmup_epochs {self.warmup_epochs} is negative or no number: give 0 or more, 5 say.")

    @property
    def depends_on_the_end(self) -> bool:
        """Whether the rates of the first steps follow from how many there will be in all: the schedule shows it."""
        short, long = self.warmup_epochs + _SHORT, self.warmup_epochs + 2 * _SHORT
        epochs = np.linspace(0, short, 1001)
        rates = SCHEDULES[self.schedule]
        return not np.array_equal(rates(self, epochs, short), rates(self, epochs, long))


def _constant(settings: ScheduleSettings, epochs: np.ndarray, end: float) -> np.ndarray:
    return np.ones_like(epochs)


def _exponential(settings: ScheduleSettings, epochs: np.ndarray, end: float) -> np.ndarray:
    return np.power(settings.decay_rate, epochs / settings.decay_epochs)


def _step(settings: ScheduleSettings, epochs: np.ndarray, end: float) -> np.ndarray:
    return np.power(settings.decay_rate, np.floor(epochs / settings.decay_epochs))


def _cosine(settings: ScheduleSettings, epochs: np.ndarray, end: float) -> np.ndarray:
    begin = min(settings.warmup_epochs, end)
    done = np.clip((epochs - begin) / max(end - begin, 1e-9), 0, 1)
    return (1 + np.cos(np.pi * done)) / 2


SCHEDULES: dict[str, Callable[[ScheduleSettings, np.ndarray, float], np.ndarray]] = {
    "constant": _constant,
    "exponential": _exponential,
    "step": _step,
    "cosine": _cosine,
}
"""From the settings, the epochs that are done and the one that training ends with, to factors of the rate."""


def learning_rates(
    settings: ScheduleSettings, base: float, first_step: int, steps: int, steps_per_epoch: int, total_steps: int
) -> np.ndarray:
    """The rates of some successive steps, float64 (steps,).

    Args:
        settings: how the rate changes.
        base: the rate before any change.
        first_step: 0 for a run's first one.
        steps: how many.
        steps_per_epoch: to tell epochs.
        total_steps: at which training ends.
    """
    epochs = np.arange(first_step, first_step + steps, dtype=np.float64) / steps_per_epoch
    rates = base * SCHEDULES[settings.schedule](settings, epochs, total_steps / steps_per_epoch)
    if settings.warmup_epochs:
        rates *= np.minimum(1, (epochs + 1 / steps_per_epoch) / settings.warmup_epochs)
    return rates
