"""The training loop: when to compute, evaluate, check and save."""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np

from cnn.cluster.collectives import Cluster
from cnn.cluster.fingerprints import check_in_step
from cnn.data.order import Plan, SampleOrder
from cnn.errors import diverged
from cnn.learner.evaluation import Evaluation, Evaluator
from cnn.learner.state import read_state
from cnn.learner.step import TrainingStep
from cnn.learner.step_message import Reports
from cnn.learner.step_results import StepResults
from cnn.runs.background_saver import BackgroundSaver
from cnn.runs.checkpoints import CheckpointFolder
from cnn.runs.curve import TrainingCurve
from cnn.runs.report import Report
from cnn.runs.run_progress import Progress

_CALL_SECONDS = 0.5
"""How long one call of several steps should last: long enough that Python is not the limit, short enough that the
progress bar moves."""

_CHECK_EVERY = 1000
"""Steps after which the ranks' weights are compared, besides at each evaluation and checkpoint."""

_MAX_SKIPPED = 40
"""Steps in a row that loss scaling may leave out: by then the scale is no longer at fault."""

_MAX_NAMED = 8
"""Samples that an error lists."""

_SLOW, _NOTICEABLE_SECONDS = 1.2, 0.005
"""How many times as long as the others, and by how much, a rank computes that is named."""

_COMMIT_SECONDS = 5.0
"""About what is lost at most when workers change. All ranks reckon with the same seconds, and commit together."""

End = Literal["ended", "stopped", "changed"]
Commit = Callable[[dict[str, np.ndarray], dict[str, Any]], None]


class Loop:
    """Trains until `total_steps`; every rank runs one, and all take the same decisions.

    Args:
        cluster: the workers.
        order: the sequence of samples.
        training_step: computes.
        learning_rates: (first step, steps) to the rates of those steps.
        variables: the whole state, by name.
        evaluate: on the validation part; None where there is none.
        is_sound: tells whether the weights of the latest step give finite numbers, on every rank the same.
        checkpoints: where rank 0 saves.
        record: what a checkpoint holds besides the state and the progress: the settings.
        report: rank 0's; None elsewhere.
        progress: where to start.
        total_steps: where to end.
        log_every: steps of a point of the training curve.
        save_every: steps; None for the epochs' ends only.
        goes_on: is called once, after the first step and before anything is recorded of it, or at the end if no step is
            left: until then the run folder tells of what was done before.
        stop_requested: tells whether this rank was asked to stop.
        change_heard: tells whether this rank heard that the workers are to change.
        commit: takes the state and the record of a checkpoint now and then, on every rank at the same step; None where
            nobody goes on from it.
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
        progress: Progress,
        total_steps: int,
        log_every: int,
        save_every: int | None,
        goes_on: Callable[[], None] | None = None,
        stop_requested: Callable[[], bool] = lambda: False,
        change_heard: Callable[[], bool] = lambda: False,
        commit: Commit | None = None,
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
        self._total_steps = total_steps
        self._curve = TrainingCurve(log_every, order.steps_per_epoch, total_steps)
        self._save_every = save_every
        self._goes_on = goes_on
        self._stop_requested, self._change_heard = stop_requested, change_heard
        self._commit = commit
        self._uncommitted_seconds = 0.0
        self._steps_per_call = 1
        self._seconds_per_step = 0.0
        self._skipped = 0
        self._local_seconds: list[float] = []
        self._named_slow = cluster.world_size == 1
        self.progress = progress

    def run(self) -> End:
        """Trains to the end, or until a rank is asked to stop or hears of a change; says which."""
        cluster = self._cluster
        coming = self._order.coming(self.progress.step, self._total_steps, cluster.rank, cluster.world_size)
        with self._training_step.reading_ahead(coming), self._saver:
            if cluster.is_chief:
                self._saver.hold(read_state(self._variables))
            return self._run()

    def _run(self) -> End:
        progress = self.progress
        self._check_in_step()
        if self._epoch_ends() and progress.evaluated_step < progress.step:
            self._go_on()
            self._do_what_is_due()  # the run was stopped before it could
        while progress.step < self._total_steps:
            results = self._call(min(self._steps_per_call, self._next_stop() - progress.step))
            if results.reports.stops[-1]:
                self._check_in_step()
                self._check_sound(None, last=True)
                self._save(best=False)
                return "stopped"
            if results.reports.changes[-1]:
                self._commit_now()
                return "changed"
            self._do_what_is_due()
        self._go_on()
        return "ended"

    def _go_on(self) -> None:
        if self._goes_on is not None:
            self._goes_on()
            self._goes_on = None

    def _do_what_is_due(self) -> None:
        """After a call: checks, evaluates, saves."""
        epoch_ends = self._epoch_ends()
        save = epoch_ends or self._due(self._save_every)
        if save or self._due(_CHECK_EVERY):
            self._check_in_step()
        if epoch_ends and self._local_seconds and not self._named_slow:  # none where a stop was at the end
            self._name_the_slow()
        evaluation = self._evaluate_now() if epoch_ends else None
        if save:
            if not self._check_sound(evaluation, last=self.progress.step == self._total_steps):
                return
            self._save(best=epoch_ends and (evaluation is None or self.progress.take(evaluation.totals)))
        if save or self._uncommitted_seconds > _COMMIT_SECONDS:
            self._commit_now()

    def _check_sound(self, evaluation: Evaluation | None, *, last: bool) -> bool:
        """Whether what the latest step made of the network may be saved; else RunError after the last step.

        Weights may be finite and yet so large that all that is computed with them overflows. Whether training has
        diverged is for the next step's loss to tell: a sound network's answers, too, may overflow for a while (in
        float16, while moving statistics lag behind). So the run continues without a checkpoint, if a step follows.
        """
        if self._is_sound() and (evaluation is None or math.isfinite(evaluation.means["loss"])):
            return True
        if last:
            raise diverged(self.progress.step, "the network's answers have become infinite or no numbers")
        return False

    def _save(self, *, best: bool) -> None:
        if self._cluster.is_chief:
            self._saver.save(self.progress.step, read_state(self._variables), self._record_now(), best=best)
            if best and self._commit is not None:
                # The others commit when this rank does: they could not write it if they had to go on without this one.
                self._saver.wait()

    def _commit_now(self) -> None:
        self._uncommitted_seconds = 0.0
        if self._commit is not None:
            self._commit(read_state(self._variables), self._record_now())

    def _record_now(self) -> dict[str, Any]:
        return {**self._record, "progress": self.progress.record()}

    def _epoch_ends(self) -> bool:
        step = self.progress.step
        return step % self._order.steps_per_epoch == 0 or step == self._total_steps

    def _due(self, every: int | None) -> bool:
        return every is not None and self.progress.step % every == 0

    def _next_stop(self) -> int:
        """The next step after which something other than a step is to be done."""
        step = self.progress.step
        everies = [self._order.steps_per_epoch, _CHECK_EVERY, *([self._save_every] if self._save_every else [])]
        return min(self._total_steps, *(step - step % every + every for every in everies))

    def _call(self, steps: int) -> StepResults:
        """Takes some steps."""
        first = self.progress.step
        cluster = self._cluster
        plan = self._order.plan(first, steps, cluster.rank, cluster.world_size)
        rates = self._learning_rates(first, steps)
        begin = time.perf_counter()
        reports = Reports(self._seconds_per_step, self._stop_requested(), self._change_heard())
        results = self._training_step.run(plan, rates, reports)
        seconds = time.perf_counter() - begin
        self._check_finite(plan, first, results)
        counts = plan.counts
        speed = None
        if self._seconds_per_step:  # the first call, which also compiles, tells no speed
            speed = counts.sum() / seconds
            self.progress.training_seconds += seconds
            self.progress.images += int(counts.sum())
        self._seconds_per_step = seconds / steps
        if not self._named_slow:
            self._local_seconds += results.diagnostics.local_seconds.tolist()
        self._choose_steps_per_call(results)
        self.progress.step = first + steps
        self._go_on()
        points, self.progress.pending = self._curve.points(self.progress.pending, first, results.totals)
        if self._report is not None:
            for point in points:
                self._report.point(point, float(rates[point.row]), speed)
            self._report.steps(self.progress.step, results.totals, speed)
        return results

    def _choose_steps_per_call(self, results: StepResults) -> None:
        """Follows the speed that all ranks heard of, so that all choose the same."""
        seconds = results.reports.seconds
        seconds_per_step = seconds[-1] / self._cluster.world_size
        self._uncommitted_seconds += seconds_per_step * len(seconds)
        if seconds_per_step > 0:
            fitting = max(1, int(_CALL_SECONDS / seconds_per_step))
            self._steps_per_call = min(fitting, 4 * self._steps_per_call)

    def _check_in_step(self) -> None:
        check_in_step(self._cluster, list(self._variables.values()), self.progress.step)

    def _check_finite(self, plan: Plan, first: int, results: StepResults) -> None:
        losses, skips = results.totals["loss"].mean, results.diagnostics.skipped
        for row, (loss, skipped) in enumerate(zip(losses, skips, strict=True)):
            self._skipped = self._skipped + 1 if skipped else 0
            if self._skipped == _MAX_SKIPPED:
                what = "gradients are too large for float16, though the loss was scaled down for long"
            elif not (skipped or math.isfinite(loss)):
                what = f"the loss is {loss}, {self._whose(plan, row, results)}"
            else:
                continue
            raise diverged(first + row + 1, what)

    def _whose(self, plan: Plan, row: int, results: StepResults) -> str:
        """Which ranks' samples have a loss that is not finite, and which they are."""
        mine = plan.indices[row][plan.weights[row] > 0]
        finite = math.isfinite(results.diagnostics.local_losses[row])
        samples = self._cluster.gather(None if finite else mine[:_MAX_NAMED].tolist())
        wrong = [rank for rank, theirs in enumerate(samples) if theirs]
        if len(wrong) == len(samples):
            return "of all workers' samples"
        return " and ".join(
            f"of those of rank {rank} (training samples {', '.join(map(str, samples[rank]))}"
            f"{', ...' if len(samples[rank]) == _MAX_NAMED else ''})"
            for rank in wrong
        )

    def _name_the_slow(self) -> None:
        """Says, once, which rank computed an epoch so much slower than the others that all waited for it."""
        seconds = self._cluster.gather(statistics.median(self._local_seconds))
        self._local_seconds.clear()
        slowest = max(range(len(seconds)), key=seconds.__getitem__)
        others = statistics.median(each for rank, each in enumerate(seconds) if rank != slowest)
        if seconds[slowest] > _SLOW * others and seconds[slowest] - others > _NOTICEABLE_SECONDS:
            self._named_slow = True
            if self._report is not None:
                self._report.message(
                    f"rank {slowest} (on {self._cluster.peers[slowest][0]}) is slow: it computes a batch's loss in "
                    f"{seconds[slowest]:.3g} s, the others in {others:.3g} s. All wait for it; jobs/doctor.py may tell "
                    "why."
                )

    def _evaluate_now(self) -> Evaluation | None:
        """Evaluates on the validation part, if there is one; without it the latest state is the best."""
        self.progress.evaluated_step = self.progress.step
        if self._evaluate is None:
            return None
        evaluation = self._evaluate()
        if self._report is not None:
            self._report.evaluation("validation", self.progress.step, evaluation)
        return evaluation
