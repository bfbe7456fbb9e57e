"""Preparing a run: from settings to a network, data and a run folder with which the next step can be computed."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cnn.cluster.ranks.arithmetic import arithmetic, other_arithmetic, other_processor
from cnn.cluster.ranks.collectives import Cluster
from cnn.cluster.ranks.job import Job
from cnn.data.dataset import Dataset
from cnn.data.order import SampleOrder
from cnn.data.split import divide_training_part
from cnn.errors import UserError
from cnn.learner.assembly import assemble, build_model, make_order
from cnn.learner.learner import Learner
from cnn.monitoring.timing.stopwatch import Stopwatch
from cnn.runs.checked_data import open_training_data
from cnn.runs.data_record import write_data
from cnn.runs.fine_tuning import check_origin, initialize_from
from cnn.runs.loop_state import LoopState
from cnn.runs.next_steps import resume_command
from cnn.runs.opening import few_steps, opening_lines, own_validation, range_of_class_weights
from cnn.runs.resumption import check_data, check_length, restore_and_broadcast
from cnn.runs.run_folder import (
    environment_of,
    record_settings,
    recorded_origin,
    recorded_topology,
    write_environment,
)
from cnn.runs.start import Start, claim_folder, decide_start
from cnn.runs.step_profile import ProfiledSteps, profiled_ranks, profiled_steps
from cnn.settings.settings import RunSettings, TrainingSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedRun:
    """A run before its next step; the same on every rank unless noted."""

    start: Start
    folder: Path
    dataset: Dataset
    training: np.ndarray
    """Indices of the training images."""

    validation: np.ndarray
    """Indices of the validation images."""

    order: SampleOrder
    learner: Learner
    total_steps: int
    """The step at which the run ends."""

    state: LoopState
    profiled: ProfiledSteps | None
    profiling_ranks: set[int]
    environment: dict[str, Any]
    """The content of environment.json."""

    messages: list[str]
    """What rank 0 prints before training; empty on other ranks."""

    @property
    def settings(self) -> TrainingSettings:
        """The settings; for a run that continues, with what was recorded."""
        return self.start.settings

    def describe(self) -> None:
        """Writes the settings, the environment and the data's record into the folder; rank 0 calls it."""
        if self.settings.run.resume:
            record_settings(self.folder, self.settings.merged)
        write_environment(self.folder, self.environment)
        write_data(self.folder, self.dataset)


def prepare_run(cluster: Cluster, settings: TrainingSettings, job: Job, stopwatch: Stopwatch) -> PreparedRun:
    """Prepares a run; every rank calls it.

    Args:
        cluster: the workers.
        settings: the given settings.
        job: the job, which then holds the folder's lock and knows the command that resumes the run.
        stopwatch: where the time of opening the data is attributed.

    Raises:
        UserError: a setting, the data or the run folder cannot be used.
        RunError: another process is using the folder.
    """
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
    numerics = arithmetic(cluster)
    if settings.step.reproducible and start.how != "fresh":
        cluster.on_chief(lambda: _check_processor(start.folder, numerics))
    folder = claim_folder(cluster, start, job, learner.variables)
    job.resume_command = cluster.from_chief(lambda: resume_command(cluster.typed_command(), folder))
    state = restore_and_broadcast(cluster, start.checkpoint, learner, dataset)
    prepared = PreparedRun(
        start=start,
        folder=folder,
        dataset=dataset,
        training=training,
        validation=validation,
        order=order,
        learner=learner,
        total_steps=total_steps,
        state=state,
        profiled=profiled,
        profiling_ranks=profiling_ranks,
        environment=_environment(cluster, folder, dataset, learner.exchange.record, numerics, origin),
        messages=[],
    )
    if cluster.is_chief:
        may_differ = start.has_checkpoint and not settings.step.reproducible
        other_bits = _other_bits(folder, numerics) if may_differ else ""
        prepared.messages.extend(filter(None, _messages(cluster, prepared, other_bits, initial_message)))
        if not start.has_checkpoint:  # until a resumed run takes a step, its folder describes the earlier start
            prepared.describe()
    return prepared


def _check_patience(run: RunSettings, validation: np.ndarray) -> None:
    if run.patience is not None and not len(validation):
        raise UserError(
            f"--patience {run.patience} counts epochs without a better result on the validation part, but there is "
            f"none with --validation_fraction {run.validation_fraction}: give a larger one, 0.1 for example.",
            agreed=True,
        )


def _check_processor(folder: Path, numerics: list[dict[str, str]]) -> None:
    """Raises UserError when a reproducible run was computed by another kind of processor until now."""
    other = other_processor(recorded_topology(folder).get("arithmetic"), numerics[0])
    if other:
        raise UserError(
            f"{folder} was begun with --reproducible by other means: this host has {other}; continue it where it was "
            "begun, or start a new run in another --run_dir."
        )


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


def _other_bits(folder: Path, numerics: list[dict[str, str]]) -> str:
    """A warning that the run was computed with other arithmetic until now; empty if it was not."""
    other = ""
    with contextlib.suppress(UserError):  # a damaged file, which is about to be rewritten
        other = other_arithmetic(recorded_topology(folder).get("arithmetic"), numerics)
    return other and f"{other}: the result will not have the same bits as without the interruption."


def _messages(
    cluster: Cluster, prepared: PreparedRun, other_bits: str, initial_message: str | None
) -> tuple[str | None, ...]:
    settings, learner, order = prepared.settings, prepared.learner, prepared.order
    return (
        *prepared.start.damage,
        *opening_lines(
            cluster=cluster,
            name=settings.model.model,
            model=learner.model,
            dataset=prepared.dataset,
            parts=(len(prepared.training), len(prepared.validation)),
            order=order,
            start_step=prepared.state.step,
            total_steps=prepared.total_steps,
            folder=prepared.folder,
        ),
        few_steps(order, settings.run, prepared.total_steps),
        other_bits,
        own_validation(prepared.dataset),
        cluster.unused_gpu(),
        cluster.crowding(),
        initial_message,
        learner.exchange.message,
        range_of_class_weights(prepared.dataset, learner.class_weights),
    )
