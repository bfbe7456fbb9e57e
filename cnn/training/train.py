"""The program that trains: from settings to a trained network and a run folder."""

import contextlib
import dataclasses
import functools
import json
import math
import time
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np

from cnn.cluster.arithmetic import arithmetic, other_arithmetic
from cnn.cluster.collectives import Cluster
from cnn.cluster.elastic import WorkersChangedError, is_elastic
from cnn.cluster.installation import check_alike
from cnn.cluster.job import Job
from cnn.data.dataset import Dataset
from cnn.data.feed import Feed
from cnn.data.order import SampleOrder
from cnn.data.split import divide_training_part
from cnn.errors import StoppedError, UserError, diverged
from cnn.models.registry import build_network
from cnn.monitoring.figure import draw_curves
from cnn.monitoring.metrics import read_metrics
from cnn.monitoring.summary import closing_paragraph, write_json
from cnn.training.averaging import WeightAverage, make_average
from cnn.training.checkpoints import Checkpoint, CheckpointFolder
from cnn.training.claimed_folder import begin_folder, claim_folder
from cnn.training.evaluation import Evaluation, Evaluator, Soundness
from cnn.training.exchanging import ChosenExchange, choose_exchange
from cnn.training.fine_tuning import check_origin, initialize_from
from cnn.training.groups import group_size
from cnn.training.loop import Loop
from cnn.training.loss_scale import make_loss_scale
from cnn.training.optimizers import build_optimizer
from cnn.training.precision import PRECISIONS, use_precision
from cnn.training.report import Report
from cnn.training.resumption import (
    as_begun,
    best_checkpoint,
    check_length,
    earlier_division,
    earlier_exchange,
    last_checkpoint,
    restore_everywhere,
)
from cnn.training.run_data import write_data
from cnn.training.run_folder import record_settings, recorded_origin, recorded_topology, write_environment
from cnn.training.run_progress import Progress
from cnn.training.schedules import learning_rates
from cnn.training.settings import TrainingSettings
from cnn.training.state import state_variables
from cnn.training.step import TrainingStep
from cnn.training.training_data import open_training_data


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Learner:
    """What learns, and what it learns from."""

    model: keras.Model
    average: WeightAverage | None
    variables: dict[str, Any]
    feed: Feed
    step: TrainingStep
    origin: tuple[str, dict[str, Any]] | None
    """Of rank 0: whose weights it begins with, if not with weights of its own, as a sentence and for the record."""

    exchange: ChosenExchange


def train(cluster: Cluster, settings: TrainingSettings, job: Job) -> None:
    """Trains, evaluates and writes the run folder; every rank calls it."""
    begin = time.perf_counter()
    check_alike(cluster, json.dumps(settings.merged, sort_keys=True))
    run = settings.run
    earlier = job.folder or (Path(run.run_dir) if run.resume and run.run_dir else None)
    dataset = open_training_data(cluster, settings, earlier_division(cluster, earlier))
    training, validation = divide_training_part(dataset, settings.data.validation_fraction, run.seed)
    folder = claim_folder(cluster, settings, job)
    together = group_size(settings.model.model, settings.augmentation, run.group_size)
    order = SampleOrder(training, run.global_batch_size, run.seed, together, run.micro_batch_size)
    # A worker that has just come makes the same calls as those that go on from what they kept.
    going_on = cluster.gather(run.resume or job.folder is not None)[0]
    checkpoint, damage = last_checkpoint(cluster, _checkpoints(folder), resume=going_on and job.kept is None)
    checkpoint = job.kept or checkpoint
    if going_on:
        settings = as_begun(cluster, settings, folder, dataset)
    total_steps = check_length(cluster, checkpoint, folder, run, order.steps_per_epoch)
    exchange = earlier_exchange(cluster, checkpoint, folder, resume=going_on)
    begun = cluster.gather(checkpoint is not None)[0]
    learner = _build(cluster, settings, dataset, order, exchange, folder, begun=begun)
    folder = begin_folder(cluster, folder, settings, job, learner.variables)
    progress = restore_everywhere(cluster, checkpoint, learner.variables, dataset)
    checkpoints = _checkpoints(folder)
    report = None
    computing = arithmetic(cluster)
    said, origin = learner.origin or (None, None)
    described = (cluster, folder, settings, dataset, learner.exchange.record, computing, origin)
    describe = functools.partial(_describe, *described)
    if cluster.is_chief:
        other_bits = _other_bits(folder, computing) if begun else ""
        if not begun:
            describe()
        report = Report(
            folder,
            total_steps=total_steps,
            start_step=progress.step,
            steps_per_epoch=order.steps_per_epoch,
            resumed=run.resume or job.again,
            launched=cluster.controller != "none",
        )
        messages = (other_bits, _own_validation(dataset), cluster.crowding(), said, learner.exchange.said)
        for message in (*damage, *messages):
            if message:
                report.message(message)
    evaluate = Evaluator(learner.model, learner.feed, validation, cluster, learner.average)
    loop = Loop(
        cluster=cluster,
        order=order,
        training_step=learner.step,
        learning_rates=lambda first, steps: learning_rates(
            settings.schedule, settings.learning_rate, first, steps, order.steps_per_epoch, total_steps
        ),
        variables=learner.variables,
        evaluate=evaluate if len(validation) else None,
        is_sound=Soundness(learner.model, learner.feed, training, cluster),
        checkpoints=checkpoints,
        record={
            "settings": settings.merged,
            "data_checksum": dataset.checksum,
            "world_size": cluster.world_size,
            "exchange": learner.exchange.record,
        },
        report=report,
        progress=progress,
        total_steps=total_steps,
        log_every=run.log_every,
        save_every=run.save_every,
        goes_on=describe if cluster.is_chief and begun else None,
        stop_asked=job.stop_asked,
        change_heard=job.membership.changed,
        commit=functools.partial(_keep, job) if is_elastic() else None,
    )
    try:
        with job.stoppable():
            end = loop.run()
    finally:
        if report is not None:
            report.close_progress()
    if end != "ended":
        _leave(cluster, report, end, progress.step, total_steps)
    restore_everywhere(cluster, best_checkpoint(cluster, checkpoints), learner.variables, dataset)
    if learner.average is not None:
        learner.average.keep()
    test = _test(cluster, dataset, learner.model, settings)
    if not math.isfinite(test.means["loss"]):
        raise diverged(progress.step, f"the loss on the test images is {test.means['loss']}")
    if report is not None:
        report.evaluation("test", progress.step, test)
        report.close()
        _finish(cluster, folder, settings, progress, order, test, time.perf_counter() - begin)


def _build(
    cluster: Cluster,
    settings: TrainingSettings,
    dataset: Dataset,
    order: SampleOrder,
    exchange: dict[str, Any] | None,
    folder: Path,
    *,
    begun: bool,
) -> _Learner:
    """Builds all that is built of variables: with the exchange of before, if there was one, and with the weights of
    another run, if so asked and not `begun`, as it is with a checkpoint that they will be restored from. `folder` is
    the run's."""
    precision = settings.run.precision
    use_precision(precision)
    model = build_network(settings.model, dataset.input_shape, dataset.classes, settings.run.seed)
    origin = _initialize(cluster, settings, model, folder) if not begun else None
    optimizer = build_optimizer(settings.optimizer, settings.regularisation, model.trainable_variables)
    average = make_average(model, settings.regularisation)
    loss_scale = make_loss_scale(precision)
    feed = Feed(
        dataset,
        dataset.train,
        PRECISIONS[precision],
        settings.augmentation,
        resident_mb=settings.data.resident_mb,
    )
    chosen = choose_exchange(
        cluster,
        settings.exchange,
        model,
        order.width(cluster.world_size),
        exchange,
    )
    step = TrainingStep(
        model,
        optimizer,
        feed,
        chosen.exchange,
        settings.regularisation,
        group_size=order.group_size,
        micro_batch_size=order.micro_batch_size,
        average=average,
        loss_scale=loss_scale,
        xla=settings.run.xla,
    )
    variables = state_variables(model, optimizer, average, loss_scale)
    return _Learner(
        model=model, average=average, variables=variables, feed=feed, step=step, origin=origin, exchange=chosen
    )


def _keep(job: Job, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
    job.kept = Checkpoint(path=Path("memory"), arrays=arrays, record=record)


def _leave(cluster: Cluster, report: Report | None, end: str, step: int, total_steps: int) -> NoReturn:
    """Ends training before its end, on every rank: it was asked to stop and is saved, or its workers change."""
    if report is not None:
        report.close()
    if end == "changed":
        raise WorkersChangedError(f"the workers change at step {step:,}")
    raise StoppedError(f"at step {step:,} of {total_steps:,}, which is saved; go on with --resume.", agreed=True)


def _initialize(
    cluster: Cluster, settings: TrainingSettings, model: keras.Model, folder: Path
) -> tuple[str, dict[str, Any]] | None:
    """Gives rank 0, which the others follow, the weights of another run, if there is to be one; says which.

    Raises:
        UserError: they do not fit, or are not those that the run in the folder was begun with.
    """
    origin = None
    with cluster.together():
        if cluster.is_chief and settings.run.initialize_from is not None:
            origin = initialize_from(Path(settings.run.initialize_from), model)
            check_origin(folder, origin[1])
    return origin


def _own_validation(dataset: Dataset) -> str:
    """Says that --validation_fraction is not used, where it is not."""
    images = dataset.validation_images
    return f"validation: the data set's own part, {images:,} images" if images else ""


def _checkpoints(folder: Path) -> CheckpointFolder:
    return CheckpointFolder(folder / "checkpoints")


def _other_bits(folder: Path, computing: list[dict[str, str]]) -> str:
    """What it means that a run was computed by something else until now; empty where it was not."""
    other = ""
    with contextlib.suppress(UserError):  # a damaged file, which is about to be written anew
        other = other_arithmetic(recorded_topology(folder).get("arithmetic"), computing)
    return other and f"{other}: the result will not have the same bits as without the interruption."


def _describe(
    cluster: Cluster,
    folder: Path,
    settings: TrainingSettings,
    dataset: Dataset,
    exchange: dict[str, Any],
    computing: list[dict[str, str]],
    origin: dict[str, Any] | None,
) -> None:
    if settings.run.resume:
        record_settings(folder, settings.merged)
    topology = {
        "world_size": cluster.world_size,
        "controller": cluster.controller,
        "hosts": [host for host, _ in cluster.peers],
        "threads_per_rank": cluster.cores.threads,
        "arithmetic": computing,
        "exchange": exchange,
    }
    write_environment(folder, topology, dataset.checksum, origin or recorded_origin(folder) or None)
    write_data(folder, dataset)


def _test(cluster: Cluster, dataset: Dataset, model: keras.Model, settings: TrainingSettings) -> Evaluation:
    feed = Feed(dataset, dataset.test, PRECISIONS[settings.run.precision], resident_mb=settings.data.resident_mb)
    return Evaluator(model, feed, np.arange(len(dataset.test.labels)), cluster)()


def _finish(
    cluster: Cluster,
    folder: Path,
    settings: TrainingSettings,
    progress: Progress,
    order: SampleOrder,
    test: Evaluation,
    seconds: float,
) -> None:
    figure = folder / "curves.png"
    title = f"{settings.model.model} on {settings.data.data}, {settings.optimizer.optimizer}"
    draw_curves(read_metrics(folder / "metrics.jsonl"), figure, title)
    accuracy = test.totals["accuracy"]
    summary = {
        "model": settings.model.model,
        "data": settings.data.data,
        "world_size": cluster.world_size,
        "steps": progress.step,
        "epochs": progress.step / order.steps_per_epoch,
        "best_step": progress.best_step,
        **{f"test_{name}": mean for name, mean in test.means.items()},
        "test_correct": int(accuracy.sums[0]),
        "test_count": int(accuracy.samples[0]),
        "images_per_second": progress.images / progress.training_seconds if progress.training_seconds else 0.0,
        "seconds": seconds,
        "run_dir": str(folder),
        "figure": str(figure),
    }
    write_json(folder / "summary.json", summary)
    print("\n" + closing_paragraph(summary, by_steps=settings.run.steps is not None), flush=True)
