"""Goodput: the share of a run's wall time, over all its starts, that became progress which was kept."""

import dataclasses
from collections.abc import Sequence

import numpy as np

TRAINING, INPUT = "training", "input"
LOST, STOPPED = "lost steps", "stopped"

ACTIVITIES = {
    "start": "from the start of the process to the first step: imports, joining the other workers, the network",
    "data": "preparing and opening the data set",
    "compilation": "compiling the first step",
    TRAINING: "steps whose result was kept",
    INPUT: "waiting for images in these steps",
    "evaluation": "evaluating, and testing at the end",
    "checkpoints": "saving",
    "other": "comparing the workers' weights, recording, output",
    LOST: "steps that were trained, but not saved before the run was interrupted",
    STOPPED: "between an interruption and the next start",
}
"""What a run's time is spent on, with explanations. All but the last two are measured in each start."""


@dataclasses.dataclass(kw_only=True)
class StartTimes:
    """Where the time of one of a run's starts went, as rank 0 measured it."""

    begin: float
    """Unix time at which the process was started."""

    world_size: int
    first_step: int
    """Steps done before this start."""

    step: int
    """Steps done at its end, or when it was interrupted."""

    seconds: dict[str, float]
    """Seconds by activity; together, the time from `begin` to the last moment that was recorded."""

    saved: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    """The latest steps at which the state was saved, with the seconds of training and input until then."""

    @property
    def end(self) -> float:
        """Unix time of the last recorded moment."""
        return self.begin + sum(self.seconds.values())

    @property
    def trained(self) -> float:
        """Seconds of training and input."""
        return self.seconds.get(TRAINING, 0.0) + self.seconds.get(INPUT, 0.0)

    def lost_share(self, kept_step: int) -> float:
        """The share of the training, 0 to 1, that came after a step from which a later start continued."""
        if kept_step >= self.step or not self.trained:
            return 0.0
        steps, seconds = zip((self.first_step, 0.0), *self.saved, (self.step, self.trained), strict=True)
        return 1 - float(np.interp(kept_step, steps, seconds)) / self.trained


@dataclasses.dataclass(frozen=True, kw_only=True)
class Goodput:
    """Where the wall time of a run went, from its first start to its last recorded moment."""

    starts: Sequence[StartTimes]

    divided: Sequence[dict[str, float]]
    """For each start, seconds by activity, in the order of ACTIVITIES: those until its end, and the stop after it."""

    lost_steps: int
    """Steps that were trained more than once."""

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by activity, in the order of ACTIVITIES; their sum is the wall time."""
        return {activity: sum(each[activity] for each in self.divided) for activity in ACTIVITIES}

    @property
    def wall(self) -> float:
        """Seconds from the first start to the last recorded moment."""
        return sum(self.seconds.values())

    @property
    def share(self) -> float:
        """The goodput, 0 to 1."""
        return self.seconds[TRAINING] / self.wall if self.wall else 0.0


def goodput(starts: Sequence[StartTimes]) -> Goodput:
    """Divides the wall time of a run, from its starts, at least one, in the order of time."""
    divided = []
    lost_steps, kept_step, next_begin = 0, starts[-1].step, starts[-1].end
    # From the last start to the first: what is lost of one depends on where the later ones continued.
    for start in reversed(starts):
        seconds = dict.fromkeys(ACTIVITIES, 0.0) | start.seconds
        share = start.lost_share(kept_step)
        seconds[LOST] = share * start.trained
        for activity in (TRAINING, INPUT):
            seconds[activity] *= 1 - share
        seconds[STOPPED] = max(0.0, next_begin - start.end)
        divided.append(seconds)
        lost_steps += max(0, start.step - max(kept_step, start.first_step))
        kept_step, next_begin = min(kept_step, start.first_step), start.begin
    return Goodput(starts=starts, divided=divided[::-1], lost_steps=lost_steps)
