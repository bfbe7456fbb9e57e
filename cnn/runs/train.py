"""The program that trains: from settings to a trained network and a run folder."""

import functools
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import psutil

from cnn.cluster.hosts.expected_workers import unexpected_workers
from cnn.cluster.launchers.elastic import WorkersChangedError, is_elastic
from cnn.cluster.ranks.collectives import Cluster
from cnn.cluster.ranks.installation import check_alike
from cnn.cluster.ranks.job import Job
from cnn.data.feed.feed import Feed
from cnn.duration import duration, seconds_of
from cnn.errors import StoppedError, diverged
from cnn.learner.evaluation import Evaluation, Evaluator, Soundness
from cnn.learner.exchange_selection import dense_kernels
from cnn.learner.first_images import first_images
from cnn.learner.learner import Learner
from cnn.learner.precision import PRECISIONS
from cnn.learner.step import TrainingStep
from cnn.models.layer_table import layer_rows
from cnn.monitoring.serving.heartbeat import heartbeat
from cnn.monitoring.serving.numbers_receiver import NumbersReceiver
from cnn.monitoring.timing.bottlenecks import Circumstances
from cnn.monitoring.timing.stopwatch import Stopwatch
from cnn.optim.schedules import learning_rates
from cnn.runs.checkpoints import Checkpoint, CheckpointFolder
from cnn.runs.loop import FIRST_CALL_SECONDS, Loop
from cnn.runs.needs import needs_of_run
from cnn.runs.prepared_run import PreparedRun, prepare_run
from cnn.runs.report import Report
from cnn.runs.results import write_results
from cnn.runs.resumption import best_checkpoint, restore_and_broadcast
from cnn.runs.serving import serving
from cnn.runs.start import Carried
from cnn.runs.step_profile import StepProfile
from cnn.runs.step_times import StepTimer
from cnn.runs.time_record import TimeRecord, process_age
from cnn.runs.timekeeper import Timekeeper
from cnn.settings.settings import RunSettings, TrainingSettings

_MAX_SECONDS = 1e6
"""Longer than any step."""


def train(
    cluster: Cluster,
    settings: TrainingSettings,
    job: Job,
    make_step: Callable[..., TrainingStep] = Learner.make_step,
) -> None:
    """Trains a network, tests it and writes the run folder; every rank calls it.

    Args:
        cluster: the workers.
        settings: all settings of the run.
        job: the job.
        make_step: makes the step from the learner, as `Learner.make_step`; a measurement replaces it.
    """
    begin = time.perf_counter()
    check_alike(cluster, json.dumps(settings.merged, sort_keys=True))
    cluster.agree(unexpected_workers([host for host, _ in cluster.peers], os.environ))
    with heartbeat(os.environ, cluster.rank) as beat, serving(cluster, settings, job) as receivers:
        _train(cluster, settings, job, make_step, receivers, beat, begin)


def _train(
    cluster: Cluster,
    settings: TrainingSettings,
    job: Job,
    make_step: Callable[..., TrainingStep],
    receivers: Sequence[NumbersReceiver],
    beat: Callable[[str], None],
    begin: float,
) -> None:
    # A worker that has stayed in a job whose workers change starts again without having been started.
    stopwatch = Stopwatch("start", process_age() if job.carried is None else 0.0, beat)
    prepared = prepare_run(cluster, settings, job, stopwatch)
    learner, state = prepared.learner, prepared.state
    report = time_record = None
    if cluster.is_chief:
        report = _open_report(cluster, prepared, receivers)
        time_record = TimeRecord(prepared.folder, stopwatch, state.step, cluster.world_size)
    step_timer = StepTimer(cluster, _circumstances(cluster, prepared))
    # On a GPU, timing makes the host wait in each step.
    training_step = make_step(learner, timed=cluster.world_size > 1 or cluster.devices.gpu == "none")
    checkpoints = CheckpointFolder(prepared.folder / "checkpoints")
    timekeeper = Timekeeper(stopwatch, step_timer, time_record)
    evaluate = Evaluator(learner.model, learner.feed, prepared.validation, cluster, learner.average, find_worst=True)
    loop = _loop(cluster, prepared, job, training_step, evaluate, checkpoints, report, timekeeper)
    try:
        with job.stoppable():
            if report is not None and state.step < prepared.total_steps:
                report.wait(f"compiling the first step{_earlier_compilation(prepared.start.checkpoint)}")
            stopwatch.switch("other")
            end = loop.run()
    finally:
        if report is not None:
            report.close_progress()
    if end != "ended":
        if report is not None and time_record is not None:
            if _is_time_over(job, prepared.settings.run):
                report.message(f"--stop_after {prepared.settings.run.stop_after}: the time is over")
            time_record.update(state.step)
            time_record.close()
            report.close()
        _leave(job, end, state.step, prepared.total_steps)
    needs = needs_of_run(cluster, learner, training_step, state.step, prepared.total_steps, checkpoints)
    best = best_checkpoint(cluster, checkpoints)
    restore_and_broadcast(cluster, best, learner, prepared.dataset)
    if learner.average is not None:
        learner.average.keep()
    with stopwatch.during("evaluation"):
        test = _test(evaluate, prepared)
    if not math.isfinite(test.means["loss"]):
        raise diverged(state.step, f"the loss on the test images is {test.means['loss']}")
    if report is not None and time_record is not None:
        report.evaluation("test", state.step, test)
        report.tensorboard.completed(state.step)
        report.close()
        time_record.update(state.step)
        time_record.close()
        write_results(
            cluster=cluster,
            prepared=prepared,
            test=test,
            seconds=time.perf_counter() - begin,
            step_timer=step_timer,
            whole=time_record.goodput(),
            needs=needs,
        )


def _open_report(cluster: Cluster, prepared: PreparedRun, receivers: Sequence[NumbersReceiver]) -> Report:
    step, learner, order = prepared.state.step, prepared.learner, prepared.order
    report = Report(
        prepared.folder,
        total_steps=prepared.total_steps,
        start_step=step,
        steps_per_epoch=order.steps_per_epoch,
        resumed=prepared.start.how != "fresh",
        dataset=prepared.dataset,
        receivers=receivers,
    )
    for message in prepared.messages:
        report.message(message)
    report.tensorboard.start(step, prepared.settings.merged, prepared.environment)
    report.tensorboard.network(step, learner.model)
    if step < prepared.total_steps:
        plan = order.plan(step, 1, cluster.rank, cluster.world_size)
        report.tensorboard.first_images(step, first_images(learner.feed, plan, order.group_size))
    return report


def _loop(
    cluster: Cluster,
    prepared: PreparedRun,
    job: Job,
    training_step: TrainingStep,
    evaluate: Evaluator,
    checkpoints: CheckpointFolder,
    report: Report | None,
    timekeeper: Timekeeper,
) -> Loop:
    settings, run, learner, order = prepared.settings, prepared.settings.run, prepared.learner, prepared.order
    return Loop(
        cluster=cluster,
        order=order,
        training_step=training_step,
        learning_rates=lambda first, steps: learning_rates(
            settings.schedule, settings.learning_rate, first, steps, order.steps_per_epoch, prepared.total_steps
        ),
        variables=learner.variables,
        evaluate=evaluate if len(prepared.validation) else None,
        is_sound=Soundness(learner.model, learner.feed, prepared.training, cluster),
        checkpoints=checkpoints,
        record={
            "settings": settings.merged,
            "data_checksum": prepared.dataset.checksum,
            "world_size": cluster.world_size,
            "exchange": learner.exchange.record,
        },
        report=report,
        timekeeper=timekeeper,
        state=prepared.state,
        total_steps=prepared.total_steps,
        log_every=run.log_every,
        save_every=run.save_every,
        histograms_every=run.histograms_every,
        profile=_profile(cluster, prepared, report),
        patience=run.patience,
        on_progress=prepared.describe if cluster.is_chief and prepared.start.has_checkpoint else None,
        stop_requested=lambda: job.stop_requested() or job.membership.stop_requested() or _is_time_over(job, run),
        change_heard=job.membership.changed,
        commit=functools.partial(_keep, job.carried) if is_elastic() else None,
        gather_kernels=learner.sharded.gather,
    )


def _profile(cluster: Cluster, prepared: PreparedRun, report: Report | None) -> StepProfile:
    """The profile that this rank makes. In the run folder, ranks other than 0 have a folder each."""
    own = None
    if cluster.rank in prepared.profiling_ranks:
        own = prepared.folder if cluster.is_chief else prepared.folder / f"rank-{cluster.rank}"
    return StepProfile(prepared.profiled, own, print if report is None else report.message)


def _is_time_over(job: Job, run: RunSettings) -> bool:
    return run.stop_after is not None and time.monotonic() - job.begin >= seconds_of(run.stop_after)


def _circumstances(cluster: Cluster, prepared: PreparedRun) -> Circumstances:
    exchange, workers, learner = prepared.settings.learner.exchange, cluster.world_size, prepared.learner
    rows = layer_rows(learner.model)
    return Circumstances(
        hosts=[host for host, _ in cluster.peers],
        samples=prepared.order.width(workers),
        weights=sum(row.parameters for row in rows),
        multiply_adds=sum(row.multiply_adds for row in rows),
        sent_bytes=learner.exchange.sent_bytes,
        streamed_mb=learner.feed.streamed_mb,
        decodes_jpeg=learner.feed.decodes_jpeg,
        spare_mb=psutil.virtual_memory().available // 2 // cluster.local_size // 10**6,
        can_compress=exchange.compression == "none",
        can_factor=exchange.exchange == "allreduce" and bool(dense_kernels(learner.model)),
    )


def _keep(carried: Carried, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
    carried.checkpoint = Checkpoint(path=Path("memory"), arrays=arrays, record=record)


def _leave(job: Job, end: str, step: int, total_steps: int) -> NoReturn:
    """Ends training early, on every rank: it was asked to stop and is saved, or its workers change."""
    if end == "changed":
        raise WorkersChangedError(f"the workers change at step {step:,}")
    raise StoppedError(f"at step {step:,} of {total_steps:,}, which is saved; {job.advice}", agreed=True)


def _earlier_compilation(checkpoint: Checkpoint | None) -> str:
    """How long the first step of the run's earlier job took, as an addition to a message."""
    seconds = None if checkpoint is None else checkpoint.record.get(FIRST_CALL_SECONDS)
    if not isinstance(seconds, int | float) or not 0 <= seconds < _MAX_SECONDS:
        return ""
    return f" (it took {duration(seconds)} the last time)"


def _test(evaluate: Evaluator, prepared: PreparedRun) -> Evaluation:
    dataset, settings = prepared.dataset, prepared.settings
    feed = Feed(dataset, dataset.test, PRECISIONS[settings.step.precision], resident_mb=settings.feed.resident_mb)
    return evaluate.on(feed, np.arange(len(dataset.test.labels)))()
