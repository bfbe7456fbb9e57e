"""Learning rates as pure functions of the step."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from cnn.choices import check_choice, one_of
from cnn.errors import UserError

_COMPARED_EPOCHS = 100.0
"""Epochs after the warm-up; the learning rates in them are compared with those of a run twice as long."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """The schedule of the learning rate."""

    schedule: str = one_of(lambda: SCHEDULES, "constant")
    """constant; exponential: multiplied by decay_rate over every decay_epochs, gradually in each step; step: multiplied
    by decay_rate after every decay_epochs; cosine: to zero at the end, along half a cosine (Loshchilov and Hutter,
    2016); linear: to zero at the end, by equal parts."""

    decay_rate: float = 0.5
    """Factor of the schedules exponential and step."""

    decay_epochs: float = 10.0
    """Epochs after which the schedules exponential and step have multiplied the learning rate by decay_rate once."""

    warmup_epochs: float = 0.0
    """Epochs at the start in which the rate rises linearly from zero to its scheduled value (Goyal et al., 2017)."""

    def __post_init__(self) -> None:
        check_choice("schedule", self.schedule, SCHEDULES)
        if not 0 < self.decay_rate <= 1:
            raise UserError(f"--decay_rate {self.decay_rate} is not in (0, 1]: give a factor, for example 0.5.")
        if not self.decay_epochs > 0:
            raise UserError(f"--decay_epochs {self.decay_epochs} is not positive: give a number, for example 10.")
        if not (self.warmup_epochs >= 0 and math.isfinite(self.warmup_epochs)):
            raise UserError(
                f"--warmup_epochs {self.warmup_epochs} is negative or not finite: give 0 or more, for example 5."
            )

    @property
    def depends_on_the_end(self) -> bool:
        """Whether the learning rates of the first steps depend on the total number of steps: compares two lengths."""
        short, long = self.warmup_epochs + _COMPARED_EPOCHS, self.warmup_epochs + 2 * _COMPARED_EPOCHS
        epochs = np.linspace(0, short, 1001)
        rates = SCHEDULES[self.schedule]
        return not np.array_equal(rates(self, epochs, short), rates(self, epochs, long))


def _constant(settings: ScheduleSettings, epochs: np.ndarray, end_epoch: float) -> np.ndarray:
    return np.ones_like(epochs)


def _exponential(settings: ScheduleSettings, epochs: np.ndarray, end_epoch: float) -> np.ndarray:
    return np.power(settings.decay_rate, epochs / settings.decay_epochs)


def _step(settings: ScheduleSettings, epochs: np.ndarray, end_epoch: float) -> np.ndarray:
    return np.power(settings.decay_rate, np.floor(epochs / settings.decay_epochs))


def _cosine(settings: ScheduleSettings, epochs: np.ndarray, end_epoch: float) -> np.ndarray:
    return (1 + np.cos(np.pi * _fraction_done(settings, epochs, end_epoch))) / 2


def _linear(settings: ScheduleSettings, epochs: np.ndarray, end_epoch: float) -> np.ndarray:
    return 1 - _fraction_done(settings, epochs, end_epoch)


def _fraction_done(settings: ScheduleSettings, epochs: np.ndarray, end_epoch: float) -> np.ndarray:
    """The fraction of the time between the warm-up and the end that has passed."""
    start = min(settings.warmup_epochs, end_epoch)
    return np.clip((epochs - start) / max(end_epoch - start, 1e-9), 0, 1)


SCHEDULES: dict[str, Callable[[ScheduleSettings, np.ndarray, float], np.ndarray]] = {
    "constant": _constant,
    "exponential": _exponential,
    "step": _step,
    "cosine": _cosine,
    "linear": _linear,
}
"""Factors of the learning rate, as functions of the settings, the epochs done and the epoch at which training ends."""


def learning_rates(
    settings: ScheduleSettings, base: float, first_step: int, steps: int, steps_per_epoch: int, total_steps: int
) -> np.ndarray:
    """The learning rates of successive steps, float64 (steps,).

    Args:
        settings: the schedule and the warm-up.
        base: learning rate before any schedule.
        first_step: index of the first step; 0 at the start of a run.
        steps: number of steps.
        steps_per_epoch: number of steps per epoch.
        total_steps: number of steps after which training ends.
    """
    epochs = np.arange(first_step, first_step + steps, dtype=np.float64) / steps_per_epoch
    rates = base * SCHEDULES[settings.schedule](settings, epochs, total_steps / steps_per_epoch)
    if settings.warmup_epochs:
        rates *= np.minimum(1, (epochs + 1 / steps_per_epoch) / settings.warmup_epochs)
    return rates
