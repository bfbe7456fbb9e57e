"""What gets a run's numbers while it trains, besides its folder and the terminal."""

from collections.abc import Mapping
from typing import Protocol


class NumbersReceiver(Protocol):
    """Gets the numbers of a run, on rank 0, once a call of the compiled step or less often."""

    def begin(self, folder: str, step: int, last_step: int, steps_per_epoch: int) -> None:
        """Sets the run's folder and where it starts.

        Args:
            folder: the run's folder.
            step: 0, or the step that the run resumes from.
            last_step: the step at which the run ends.
            steps_per_epoch: number of steps per epoch.
        """

    def progress(self, step: int, taken: int, samples: int, samples_per_second: float | None) -> None:
        """Counts steps that were computed.

        Args:
            step: number of steps of the run done.
            taken: number of steps computed since the last call.
            samples: the samples in them, over all workers.
            samples_per_second: speed of all workers together; None while it is not known.
        """

    def learning_rate(self, rate: float) -> None:
        """Sets the learning rate."""

    def means(self, part: str, means: Mapping[str, float]) -> None:
        """Sets the metrics of a part (train, validation or test) by name."""

    def times(self, parts: Mapping[str, float], activities: Mapping[str, float], goodput: float) -> None:
        """Sets where the time goes.

        Args:
            parts: seconds of each part of a step.
            activities: seconds of the run by activity, over all its starts.
            goodput: the share of the run's time that became kept progress, 0 to 1.
        """

    def limit(self, cause: str) -> None:
        """Notes a cause of slow steps."""
