"""The training loop: computes steps, and evaluates, checks and saves when these are due."""

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
import numpy as np

from cnn.cluster.ranks.collectives import Cluster
from cnn.cluster.ranks.fingerprints import check_in_step
from cnn.data.feed.feed import Read
from cnn.data.order import SampleOrder
from cnn.errors import diverged
from cnn.learner.evaluation import Evaluation, Evaluator
from cnn.learner.state import divided, read_state
from cnn.learner.step import TrainingStep
from cnn.learner.step_message import Reports
from cnn.learner.step_results import StepResults
from cnn.runs.background_saver import BackgroundSaver
from cnn.runs.checkpoints import CheckpointFolder
from cnn.runs.curve import TrainingCurve
from cnn.runs.loop_state import LoopState
from cnn.runs.report import Report
from cnn.runs.step_profile import StepProfile
from cnn.runs.timekeeper import Timekeeper
from cnn.runs.training_faults import DivergenceCheck

_CALL_SECONDS = 0.5
"""Duration of a call that runs several steps: long enough that Python is not the bottleneck, short enough that the
progress bar moves."""

_CHECK_EVERY = 1000
"""Steps between comparisons of the ranks' weights, which are also compared at each evaluation and checkpoint."""

FIRST_CALL_SECONDS = "first_call_seconds"
"""Name of the duration of a job's first step or steps in a checkpoint's record."""

_COMMIT_SECONDS = 5.0
"""Approximate maximum of computing time lost when workers change. All ranks use the same measurement, and so commit at
the same step."""

_COMPARE_SECONDS = 20.0
"""Approximate maximum of time between comparisons of the ranks' step times, which also follow each epoch."""

End = Literal["ended", "stopped", "changed"]
Commit = Callable[[dict[str, np.ndarray], dict[str, Any]], None]


class Loop:
    """Trains until `total_steps`, or until patience is exhausted. Every rank runs one; all make the same decisions.

    Args:
        cluster: the workers.
        order: the sequence of samples.
        training_step: the compiled step.
        learning_rates: function from a first step and a number of steps to the learning rates of these steps.
        variables: the entire state, by name.
        evaluate: evaluation on the validation part; None if there is none.
        is_sound: whether the current weights give finite logits; the same on every rank.
        checkpoints: folder in which rank 0 saves.
        record: further content of a checkpoint besides the variables and the loop's state: the settings.
        report: where results are shown and recorded; None except on rank 0.
        timekeeper: measures where the time goes.
        state: the state from which to start or resume.
        total_steps: step at which to end.
        log_every: steps per point of the training curve.
        histograms_every: steps per histogram of the weights; None for none.
        profile: the profile of some steps; None for none.
        save_every: steps per checkpoint; None to save only at the ends of epochs.
        patience: epochs without a better evaluation after which to end; None to train until `total_steps`.
        on_progress: called once, after the first step and before any of its results are recorded, or at the end if no
            step is left to run. Until then, the run folder describes the earlier start.
        stop_requested: whether this rank has been asked to stop.
        change_heard: whether this rank has been notified that the workers will change.
        commit: keeps the state and the record of a checkpoint in memory, on every rank at the same step; None in a job
            that is not elastic.
        gather_kernels: assigns the ranks' parts of divided kernels to the network's; every rank calls it.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        order: SampleOrder,
        training_step: TrainingStep,
        learning_rates: Callable[[int, int], np.ndarray],
        variables: dict[str, keras.Variable],
        evaluate: Evaluator | None,
        is_sound: Callable[[], bool],
        checkpoints: CheckpointFolder,
        record: dict[str, Any],
        report: Report | None,
        timekeeper: Timekeeper,
        state: LoopState,
        total_steps: int,
        log_every: int,
        save_every: int | None,
        histograms_every: int | None = None,
        profile: StepProfile | None = None,
        patience: int | None = None,
        on_progress: Callable[[], None] | None = None,
        stop_requested: Callable[[], bool] = lambda: False,
        change_heard: Callable[[], bool] = lambda: False,
        commit: Commit | None = None,
        gather_kernels: Callable[[], None] = lambda: None,
    ) -> None:
        self._cluster = cluster
        self._order = order
        self._training_step = training_step
        self._learning_rates = learning_rates
        self._variables = variables
        self._evaluate = evaluate
        self._is_sound = is_sound
        self._saver = BackgroundSaver(checkpoints)
        self._record = record
        self._report = report
        self._timekeeper = timekeeper
        self._total_steps = total_steps
        self._curve = TrainingCurve(log_every, order.steps_per_epoch, total_steps)
        self._save_every = save_every
        self._histograms_every = histograms_every
        self._profile = profile or StepProfile(None, None, print)
        self._gradient_norms: Mapping[str, float] = {}
        self._patience = patience
        self._on_progress = on_progress
        self._stop_requested, self._change_heard = stop_requested, change_heard
        self._commit = commit
        self._gather_kernels = gather_kernels
        self._gathered_step: int | None = None
        self._uncommitted_seconds = self._uncompared_seconds = 0.0
        self._steps_per_call = 1
        self._seconds_per_step = 0.0
        self._divergence = DivergenceCheck(cluster)
        self.state = state

    def run(self) -> End:
        """Trains to the end, or until a rank is asked to stop or hears of a change of workers; returns which it was."""
        cluster = self._cluster
        coming = self._order.coming(self.state.step, self._total_steps, cluster.rank, cluster.world_size)
        profile = contextlib.closing(self._profile)
        with self._training_step.reading_ahead(coming) as read, self._saver, profile:
            self._hold_state()
            return self._run(self._timekeeper.timed(read))

    def _run(self, read: Read) -> End:
        state = self.state
        self._check_in_step()
        if self._epoch_ends() and state.evaluated_step < state.step:
            self._call_on_progress()
            self._check_evaluate_save()  # the earlier start was stopped before it could
        while not self._is_last():
            results = self._call(min(self._steps_per_call, self._next_stop() - state.step), read)
            if results.reports.stops[-1]:
                self._check_in_step()
                self._check_sound(None, last=True)
                self._save(best=False)
                return "stopped"
            if results.reports.changes[-1]:
                self._commit_now()
                return "changed"
            self._check_evaluate_save()
        self._call_on_progress()
        return "ended"

    def _call_on_progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress()
            self._on_progress = None

    def _check_evaluate_save(self) -> None:
        """Checks, evaluates and saves after a call, if these are due."""
        epoch_ends = self._epoch_ends()
        save = epoch_ends or self._due(self._save_every)
        if save or self._due(_CHECK_EVERY):
            self._check_in_step()
        if epoch_ends or self._uncompared_seconds > _COMPARE_SECONDS:
            self._uncompared_seconds = 0.0
            self._timekeeper.compare(self.state.step, self._report)
        if self._report is not None and epoch_ends:
            self._report.weights(self.state.step, self._variables, self._gradient_norms)
        if self._due(self._histograms_every):
            self._gather()
        if self._report is not None and self._due(self._histograms_every):
            self._report.histograms(self.state.step, self._variables)
        evaluation = self._evaluate_now() if epoch_ends else None
        if save:
            is_sound = self._check_sound(evaluation, last=self._is_last())
            best = is_sound and epoch_ends and (evaluation is None or self.state.update_best(evaluation.totals))
            if epoch_ends and self._report is not None:
                self._report.epoch(self.state.step, evaluation, best=best and evaluation is not None)
            if not is_sound:
                return
            self._save(best=best)
        if save or self._uncommitted_seconds > _COMMIT_SECONDS:
            self._commit_now()

    def _check_sound(self, evaluation: Evaluation | None, *, last: bool) -> bool:
        """Whether the current state may be saved. If it may not after the last step, raises RunError.

        Weights may be finite and yet so large that everything computed with them overflows. A sound network's logits
        may overflow for a while, too (in float16, while moving statistics lag behind), so only the next step's loss
        shows whether training has diverged. If there is a next step, the run continues without this checkpoint.
        """
        with self._timekeeper.during("evaluation"):
            is_sound = self._is_sound()
        if is_sound and (evaluation is None or math.isfinite(evaluation.means["loss"])):
            return True
        if last:
            raise diverged(self.state.step, "the network's logits have become infinite or not a number")
        return False

    def _read_state(self) -> dict[str, np.ndarray]:
        """The entire state on rank 0, on the others only what is divided among the ranks; every rank calls it."""
        return read_state(self._variables if self._cluster.is_chief else divided(self._variables))

    def _hold_state(self) -> None:
        state = self._read_state()  # which must not be held while the variables are trained
        if self._cluster.is_chief:
            self._saver.hold(state)

    def _save(self, *, best: bool) -> None:
        with self._timekeeper.during("checkpoints"):
            state = self._read_state()
            if not self._cluster.is_chief:
                return
            self._saver.save(self.state.step, state, self._record_now(), best=best)
            if best and self._commit is not None:
                # The others commit when this rank does: without this rank, they could not write this checkpoint.
                self._saver.wait()
        self._timekeeper.saved(self.state.step)

    def _commit_now(self) -> None:
        self._uncommitted_seconds = 0.0
        if self._commit is not None:
            with self._timekeeper.during("checkpoints"):
                self._gather()
                self._commit(read_state(self._variables), self._record_now())
            self._timekeeper.saved(self.state.step)

    def _record_now(self) -> dict[str, Any]:
        return {**self._record, "progress": self.state.record()}

    def _is_last(self) -> bool:
        """Whether no step follows: the last one is done, or the latest evaluations were no better than an earlier one.

        How many these were follows from the steps of the best and of the latest one, so that it is known on resuming.
        """
        if self._patience is not None:
            without_better = self.state.evaluated_step - (self.state.best_step or 0)
            if without_better >= self._patience * self._order.steps_per_epoch:
                return True
        return self.state.step == self._total_steps

    def _epoch_ends(self) -> bool:
        return self._ends_epoch(self.state.step)

    def _ends_epoch(self, step: int) -> bool:
        return step % self._order.steps_per_epoch == 0 or step == self._total_steps

    def _due(self, every: int | None) -> bool:
        return every is not None and self.state.step % every == 0

    def _next_stop(self) -> int:
        """The next step after which something other than a step is due."""
        step = self.state.step
        optional = (self._save_every, self._histograms_every)
        intervals = [self._order.steps_per_epoch, _CHECK_EVERY, *(every for every in optional if every)]
        stop = min(self._total_steps, *(step - step % every + every for every in intervals))
        most = self._profile.max_steps(step)
        return stop if most is None else min(stop, step + most)

    def _call(self, steps: int, read: Read) -> StepResults:
        """Runs some steps and records their results."""
        first = self.state.step
        cluster = self._cluster
        plan = self._order.plan(first, steps, cluster.rank, cluster.world_size)
        rates = self._learning_rates(first, steps)
        profiled = self._profile.call(first)
        reports = Reports(self._seconds_per_step, self._stop_requested(), self._change_heard())
        with_norms = self._ends_epoch(first + steps)
        with profiled:
            results, seconds = self._timekeeper.call(
                steps, lambda: self._training_step.run(plan, rates, reports, read, with_norms=with_norms)
            )
        self._gradient_norms = results.gradient_norms
        self._divergence.check(plan, first, results)
        counts = plan.counts
        speed = None
        if self._seconds_per_step:
            speed = counts.sum() / seconds
            self.state.training_seconds += seconds
            self.state.images += int(counts.sum())
        else:  # the first call includes compilation, so its speed means nothing
            self._record[FIRST_CALL_SECONDS] = seconds
        self._seconds_per_step = seconds / steps
        self._choose_steps_per_call(results)
        self.state.step = first + steps
        self._call_on_progress()
        points, self.state.pending = self._curve.points(self.state.pending, first, results.totals)
        if self._report is not None:
            for point in points:
                self._report.point(point, float(rates[point.row]), speed)
            self._report.steps(self.state.step, results.totals, speed)
        self._timekeeper.update(self.state.step)
        return results

    def _choose_steps_per_call(self, results: StepResults) -> None:
        """Adapts to the mean of the ranks' speeds, which all of them know, so that all choose the same."""
        seconds = results.reports.seconds
        seconds_per_step = seconds[-1] / self._cluster.world_size
        self._uncommitted_seconds += seconds_per_step * len(seconds)
        self._uncompared_seconds += seconds_per_step * len(seconds)
        if seconds_per_step > 0:
            fitting = max(1, int(_CALL_SECONDS / seconds_per_step))
            self._steps_per_call = min(fitting, 4 * self._steps_per_call)

    def _check_in_step(self) -> None:
        self._gather()
        parts = divided(self._variables)
        replicated = [variable for name, variable in self._variables.items() if name not in parts]
        check_in_step(self._cluster, replicated, self.state.step)

    def _gather(self) -> None:
        """Brings the network's weights up to date where training divides them among the ranks; every rank calls it."""
        if self._gathered_step != self.state.step:
            self._gather_kernels()
            self._gathered_step = self.state.step

    def _evaluate_now(self) -> Evaluation | None:
        """Evaluates on the validation part, if there is one. Without it, the latest state counts as the best."""
        self.state.evaluated_step = self.state.step
        if self._evaluate is None:
            return None
        with self._timekeeper.during("evaluation"):
            evaluation = self._evaluate()
        if self._report is not None:
            self._report.evaluation("validation", self.state.step, evaluation)
        return evaluation
