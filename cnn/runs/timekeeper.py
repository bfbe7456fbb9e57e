"""Where a run's time goes: the process's by activity, the steps' by part, and the run's over all its starts."""

import contextlib
import time
from collections.abc import Callable

import numpy as np

from cnn.data.feed.feed import Read
from cnn.learner.step_results import StepResults
from cnn.monitoring.timing.goodput import INPUT, TRAINING
from cnn.monitoring.timing.stopwatch import Stopwatch
from cnn.runs.report import Report
from cnn.runs.step_times import StepTimer
from cnn.runs.time_record import TimeRecord
from cnn.tensor import Tensor


class Timekeeper:
    """Measures training. Every rank has one, and calls `call` and `compare` at the same steps.

    Attributes:
        first_call_seconds: duration of the first call, which includes compilation; None before it.

    Args:
        stopwatch: what this process's time is attributed to.
        step_timer: where the times of steps are collected.
        record: the file that keeps the stopwatch's times; None except on rank 0.
    """

    def __init__(self, stopwatch: Stopwatch, step_timer: StepTimer, record: TimeRecord | None) -> None:
        self._stopwatch, self._step_timer, self._record = stopwatch, step_timer, record
        self._first_call_steps = 0
        self.first_call_seconds: float | None = None

    def during(self, activity: str) -> contextlib.AbstractContextManager[None]:
        """Attributes the time of a `with` block to an activity."""
        return self._stopwatch.during(activity)

    def timed(self, read: Read) -> Read:
        """A function that reads like `read`, and whose time is attributed to the input."""

        def timed_read(indices: np.ndarray) -> tuple[Tensor, Tensor]:
            with self.during(INPUT):
                return read(indices)

        return timed_read

    def call(self, steps: int, run: Callable[[], StepResults]) -> tuple[StepResults, float]:
        """Runs and measures a call of the compiled step.

        Args:
            steps: the steps in it.
            run: makes the call.

        Returns:
            The results of the steps, and the duration in seconds.
        """
        is_first = self.first_call_seconds is None
        earlier_input, begin = self._input_seconds(), time.perf_counter()
        with self.during("compilation" if is_first else TRAINING):
            results = run()
        seconds = time.perf_counter() - begin
        if is_first:
            self.first_call_seconds, self._first_call_steps = seconds, steps
        else:
            self._step_timer.add(seconds, self._input_seconds() - earlier_input, results)
            # Only now is it known what the first call took besides compiling.
            self._stopwatch.move(self._first_call_steps * seconds / steps, "compilation", TRAINING)
            self._first_call_steps = 0
        return results, seconds

    def update(self, step: int) -> None:
        """Records the times until now, at which `step` steps are done."""
        if self._record is not None:
            self._record.update(step)

    def saved(self, step: int) -> None:
        """Records that the state after `step` steps is saved now, or kept for a change of workers."""
        if self._record is not None:
            self._record.saved(step)

    def compare(self, step: int, report: Report | None) -> None:
        """Compares the ranks' times since the last comparison, and reports them and what newly limits the speed.

        Args:
            step: number of steps done.
            report: the report; None except on rank 0.
        """
        ranks = self._step_timer.compare()
        if report is not None and self._record is not None and ranks:
            report.times(step, ranks[0], self._record.goodput())
            for limit in self._step_timer.newly_found(ranks):
                report.limit(step, limit)

    def _input_seconds(self) -> float:
        return self._stopwatch.seconds().get(INPUT, 0.0)
