"""The program that trains: from settings to a trained network and a run folder."""

import contextlib
import functools
import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import keras
import numpy as np
import psutil

from cnn.cluster.arithmetic import arithmetic, other_arithmetic
from cnn.cluster.collectives import Cluster
from cnn.cluster.elastic import WorkersChangedError, is_elastic
from cnn.cluster.installation import check_alike
from cnn.cluster.job import Job
from cnn.data.dataset import Dataset
from cnn.data.feed import Feed
from cnn.data.order import SampleOrder
from cnn.data.split import divide_training_part
from cnn.duration import duration, seconds_of
from cnn.errors import StoppedError, UserError, diverged
from cnn.learner.evaluation import Evaluation, Evaluator, Soundness
from cnn.learner.exchange_selection import dense_kernels
from cnn.learner.first_images import first_images
from cnn.learner.learner import Learner, assemble, build_model, make_order
from cnn.learner.precision import PRECISIONS
from cnn.monitoring.bottlenecks import Circumstances
from cnn.monitoring.stopwatch import Stopwatch
from cnn.optim.schedules import learning_rates
from cnn.runs.checked_data import open_training_data
from cnn.runs.checkpoints import Checkpoint, CheckpointFolder
from cnn.runs.data_record import write_data
from cnn.runs.fine_tuning import check_origin, initialize_from
from cnn.runs.loop import FIRST_CALL_SECONDS, Loop
from cnn.runs.needs import needs_of_run
from cnn.runs.next_steps import resume_command
from cnn.runs.opening import few_steps, opening_lines, own_validation, range_of_class_weights
from cnn.runs.report import Report
from cnn.runs.results import write_results
from cnn.runs.resumption import best_checkpoint, check_data, check_length, restore_and_broadcast
from cnn.runs.run_folder import (
    environment_of,
    record_settings,
    recorded_origin,
    recorded_topology,
    write_environment,
)
from cnn.runs.serving import serving
from cnn.runs.start import Carried, Start, claim_folder, decide_start
from cnn.runs.step_profile import ProfiledSteps, StepProfile, profiled_ranks, profiled_steps
from cnn.runs.step_times import StepTimer
from cnn.runs.time_record import TimeRecord, process_age
from cnn.settings.settings import RunSettings, TrainingSettings

if TYPE_CHECKING:
    from cnn.monitoring.served_numbers import ServedNumbers

_MAX_SECONDS = 1e6
"""Longer than any step."""


def train(cluster: Cluster, settings: TrainingSettings, job: Job) -> None:
    """Trains a network, tests it and writes the run folder; every rank calls it."""
    begin = time.perf_counter()
    check_alike(cluster, json.dumps(settings.merged, sort_keys=True))
    with serving(cluster, settings, job) as served:
        _train(cluster, settings, job, served, begin)


def _train(
    cluster: Cluster, settings: TrainingSettings, job: Job, served: "ServedNumbers | None", begin: float
) -> None:
    # A worker that has stayed in a job whose workers change starts again without having been started.
    stopwatch = Stopwatch("start", process_age() if job.carried is None else 0.0)
    start = decide_start(cluster, settings, job)
    settings, run = start.settings, start.settings.run
    with stopwatch.during("data"):
        dataset = open_training_data(cluster, settings, start.division)
    check_data(cluster, start, dataset)
    training, validation = divide_training_part(dataset, run.validation_fraction, run.seed)
    _check_patience(run, validation)
    model = build_model(settings.learner, dataset)
    order = make_order(cluster, settings.learner, model, training, run.global_batch_size)
    total_steps = check_length(cluster, start, run, order.steps_per_epoch)
    profiled = profiled_steps(run.profile_steps, total_steps)
    profiling_ranks = profiled_ranks(run.profile_ranks, cluster.world_size)
    initial = None if start.has_checkpoint else cluster.on_chief(lambda: _initialize(start, model))
    initial_message, origin = initial or (None, None)
    learner = assemble(cluster, settings.learner, dataset, order, model, start.exchange)
    folder = claim_folder(cluster, start, job, learner.variables)
    job.resume_command = cluster.from_chief(lambda: resume_command(cluster.typed_command(), folder))
    loop_state = restore_and_broadcast(cluster, start.checkpoint, learner.variables, dataset)
    checkpoints = CheckpointFolder(folder / "checkpoints")
    report = time_record = None
    numerics = arithmetic(cluster)
    environment = _environment(cluster, folder, dataset, learner.exchange.record, numerics, origin)
    describe = functools.partial(_describe, start, folder, dataset, environment)
    if cluster.is_chief:
        other_bits = _other_bits(folder, numerics) if start.has_checkpoint else ""
        if not start.has_checkpoint:
            describe()
        messages = (
            *opening_lines(
                cluster=cluster,
                name=settings.model.model,
                model=model,
                dataset=dataset,
                parts=(len(training), len(validation)),
                order=order,
                start_step=loop_state.step,
                total_steps=total_steps,
                folder=folder,
            ),
            few_steps(order, run, total_steps),
            other_bits,
            own_validation(dataset),
            cluster.unused_gpu(),
            cluster.crowding(),
            initial_message,
            learner.exchange.message,
            range_of_class_weights(dataset, learner.class_weights),
        )
        report = _open_report(
            start, folder, dataset, loop_state.step, order.steps_per_epoch, total_steps, messages, served
        )
        report.tensorboard.start(loop_state.step, settings.merged, environment)
        report.tensorboard.network(loop_state.step, model)
        if loop_state.step < total_steps:
            plan = order.plan(loop_state.step, 1, cluster.rank, cluster.world_size)
            report.tensorboard.first_images(loop_state.step, first_images(learner.feed, plan, order.group_size))
        time_record = TimeRecord(folder, stopwatch, loop_state.step, cluster.world_size)
    step_timer = StepTimer(cluster, _circumstances(cluster, settings, learner, order))
    evaluate = Evaluator(model, learner.feed, validation, cluster, learner.average, find_worst=True)
    # On a GPU, timing makes the host wait in each step.
    training_step = learner.make_step(timed=cluster.world_size > 1 or cluster.devices.gpu == "none")
    loop = Loop(
        cluster=cluster,
        order=order,
        training_step=training_step,
        learning_rates=lambda first, steps: learning_rates(
            settings.schedule, settings.learning_rate, first, steps, order.steps_per_epoch, total_steps
        ),
        variables=learner.variables,
        evaluate=evaluate if len(validation) else None,
        is_sound=Soundness(model, learner.feed, training, cluster),
        checkpoints=checkpoints,
        record={
            "settings": settings.merged,
            "data_checksum": dataset.checksum,
            "world_size": cluster.world_size,
            "exchange": learner.exchange.record,
        },
        report=report,
        stopwatch=stopwatch,
        step_timer=step_timer,
        time_record=time_record,
        state=loop_state,
        total_steps=total_steps,
        log_every=run.log_every,
        save_every=run.save_every,
        histograms_every=run.histograms_every,
        profile=_profile(cluster, profiled, profiling_ranks, folder, report),
        patience=run.patience,
        on_progress=describe if cluster.is_chief and start.has_checkpoint else None,
        stop_requested=lambda: job.stop_requested() or _is_time_over(job, run),
        change_heard=job.membership.changed,
        commit=functools.partial(_keep, job.carried) if is_elastic() else None,
    )
    try:
        with job.stoppable():
            if report is not None and loop_state.step < total_steps:
                report.wait(f"compiling the first step{_earlier_compilation(start.checkpoint)}")
            stopwatch.switch("other")
            end = loop.run()
    finally:
        if report is not None:
            report.close_progress()
    if end != "ended":
        if report is not None and _is_time_over(job, run):
            report.message(f"--stop_after {run.stop_after}: the time is over")
        if time_record is not None:
            time_record.update(loop_state.step)
            time_record.close()
        _leave(job, report, end, loop_state.step, total_steps)
    needs = needs_of_run(cluster, learner, training_step, loop_state.step, total_steps, checkpoints)
    restore_and_broadcast(cluster, best_checkpoint(cluster, checkpoints), learner.variables, dataset)
    if learner.average is not None:
        learner.average.keep()
    with stopwatch.during("evaluation"):
        test = _test(cluster, dataset, model, settings)
    if not math.isfinite(test.means["loss"]):
        raise diverged(loop_state.step, f"the loss on the test images is {test.means['loss']}")
    if report is not None and time_record is not None:
        report.evaluation("test", loop_state.step, test)
        report.tensorboard.completed(loop_state.step)
        report.close()
        time_record.update(loop_state.step)
        time_record.close()
        write_results(
            cluster=cluster,
            folder=folder,
            settings=settings,
            loop_state=loop_state,
            order=order,
            dataset=dataset,
            test=test,
            total_steps=total_steps,
            seconds=time.perf_counter() - begin,
            step_timer=step_timer,
            whole=time_record.goodput(),
            needs=needs,
        )


def _open_report(
    start: Start,
    folder: Path,
    dataset: Dataset,
    step: int,
    steps_per_epoch: int,
    total_steps: int,
    messages: Iterable[str | None],
    served: "ServedNumbers | None",
) -> Report:
    report = Report(
        folder,
        total_steps=total_steps,
        start_step=step,
        steps_per_epoch=steps_per_epoch,
        resumed=start.how != "fresh",
        dataset=dataset,
        served=served,
    )
    for message in (*start.damage, *messages):
        if message:
            report.message(message)
    return report


def _profile(
    cluster: Cluster, steps: ProfiledSteps | None, ranks: set[int], folder: Path, report: Report | None
) -> StepProfile:
    """The profile that this rank makes. In the run folder, ranks other than 0 have a folder each."""
    own = None
    if cluster.rank in ranks:
        own = folder if cluster.is_chief else folder / f"rank-{cluster.rank}"
    return StepProfile(steps, own, print if report is None else report.message)


def _check_patience(run: RunSettings, validation: np.ndarray) -> None:
    if run.patience is not None and not len(validation):
        raise UserError(
            f"--patience {run.patience} counts epochs without a better result on the validation part, but there is "
            f"none with --validation_fraction {run.validation_fraction}: give a larger one, 0.1 for example.",
            agreed=True,
        )


def _is_time_over(job: Job, run: RunSettings) -> bool:
    return run.stop_after is not None and time.monotonic() - job.begin >= seconds_of(run.stop_after)


def _circumstances(cluster: Cluster, settings: TrainingSettings, learner: Learner, order: SampleOrder) -> Circumstances:
    exchange, workers = settings.learner.exchange, cluster.world_size
    return Circumstances(
        hosts=[host for host, _ in cluster.peers],
        samples=order.width(workers),
        sent_bytes=learner.exchange.sent_bytes,
        streamed_mb=learner.feed.streamed_mb,
        spare_mb=psutil.virtual_memory().available // 2 // cluster.local_size // 10**6,
        can_compress=exchange.compression == "none",
        can_factor=exchange.exchange == "allreduce" and bool(dense_kernels(learner.model)),
    )


def _keep(carried: Carried, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
    carried.checkpoint = Checkpoint(path=Path("memory"), arrays=arrays, record=record)


def _leave(job: Job, report: Report | None, end: str, step: int, total_steps: int) -> NoReturn:
    """Ends training early, on every rank: it was asked to stop and is saved, or its workers change."""
    if report is not None:
        report.close()
    if end == "changed":
        raise WorkersChangedError(f"the workers change at step {step:,}")
    raise StoppedError(f"at step {step:,} of {total_steps:,}, which is saved; {job.advice}", agreed=True)


def _earlier_compilation(checkpoint: Checkpoint | None) -> str:
    """How long the first step of the run's earlier job took, as an addition to a message."""
    seconds = None if checkpoint is None else checkpoint.record.get(FIRST_CALL_SECONDS)
    if not isinstance(seconds, int | float) or not 0 <= seconds < _MAX_SECONDS:
        return ""
    return f" (it took {duration(seconds)} the last time)"


def _initialize(start: Start, model: keras.Model) -> tuple[str, dict[str, Any]] | None:
    """Initializes the network with given weights, if requested; returns a message and a record that name them.

    Raises:
        UserError: they do not fit, or are not those that the run in the folder was started with.
    """
    initial = start.settings.run.initialize_from
    if initial is None:
        return None
    message, origin = initialize_from(Path(initial), start.settings.model.model, model)
    check_origin(start.folder, origin)
    return message, origin


def _other_bits(folder: Path, numerics: list[dict[str, str]]) -> str:
    """A warning that the run was computed with other arithmetic until now; empty if it was not."""
    other = ""
    with contextlib.suppress(UserError):  # a damaged file, which is about to be rewritten
        other = other_arithmetic(recorded_topology(folder).get("arithmetic"), numerics)
    return other and f"{other}: the result will not have the same bits as without the interruption."


def _environment(
    cluster: Cluster,
    folder: Path,
    dataset: Dataset,
    exchange: dict[str, Any],
    numerics: list[dict[str, str]],
    origin: dict[str, Any] | None,
) -> dict[str, Any]:
    topology = {
        "world_size": cluster.world_size,
        "controller": cluster.controller,
        "hosts": [host for host, _ in cluster.peers],
        "threads_per_rank": cluster.cores.threads,
        "arithmetic": numerics,
        "exchange": exchange,
    }
    recorded = recorded_origin(folder) if cluster.is_chief else None  # another host may not have the folder
    return environment_of(topology, dataset.checksum, origin or recorded or None)


def _describe(start: Start, folder: Path, dataset: Dataset, environment: dict[str, Any]) -> None:
    if start.settings.run.resume:
        record_settings(folder, start.settings.merged)
    write_environment(folder, environment)
    write_data(folder, dataset)


def _test(cluster: Cluster, dataset: Dataset, model: keras.Model, settings: TrainingSettings) -> Evaluation:
    feed = Feed(dataset, dataset.test, PRECISIONS[settings.step.precision], resident_mb=settings.feed.resident_mb)
    return Evaluator(model, feed, np.arange(len(dataset.test.labels)), cluster)()
