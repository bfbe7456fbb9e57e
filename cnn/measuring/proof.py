"""Measurements for the proof that N workers compute the same as one: one job, with one number of workers."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.choices import check_choice
from cnn.cluster.exchange.exchange_cost import ExchangeSettings
from cnn.data.feed.augmentation import AugmentationSettings
from cnn.data.feed.feed_settings import FeedSettings
from cnn.data.order import Plan, SampleOrder
from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.errors import UserError
from cnn.foreign_folder import open_new
from cnn.learner.assembly import assemble, build_model, make_order
from cnn.learner.learner import Learner
from cnn.learner.learner_settings import LearnerSettings, StepSettings, learner_settings
from cnn.learner.precision import PRECISIONS
from cnn.models.registry import NETWORKS, ModelSettings
from cnn.optim.optimizers import OptimizerSettings
from cnn.optim.regularisation import RegularisationSettings

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster
    from cnn.data.dataset import Dataset
    from cnn.learner.step import TrainingStep

_SEED = 1

_EXACT = "exact"
"""The run of float64 that starts with float32's weights, with which first gradients are compared."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProofSettings:
    """What the proof covers."""

    models: list[str] = dataclasses.field(default_factory=lambda: ["fcnn", "lenet5", "lenet5-like"])
    """Networks to compare."""

    workers: list[int] = dataclasses.field(default_factory=lambda: [1, 2, 3])
    """Numbers of workers to compare with one worker, which is always measured."""

    bits: bool = False
    """Instead, train with --reproducible, and compare the bits of all weights; also for one worker with one thread."""

    precisions: list[str] = dataclasses.field(default_factory=list)
    """Precisions in which the first gradient of each variable is compared with the one in float64, all by default; with
    --bits, those to train in, float32 by default."""

    proof_steps: int = 20
    """Training steps."""

    proof_batch_size: int = 100
    """Samples per training step. An epoch is three such batches and a partial one, 0.3 times as large."""

    proof_group_size: int = 10
    """Samples over which batch normalisation computes its mean and variance."""

    proof_micro_batch_size: int | None = None
    """Maximum number of samples that a worker computes at once. If not given, its entire share of the batch."""

    launcher: str = "mpirun --oversubscribe"
    """mpirun or horovodrun, with options of launch/mpirun.sh, by which workers are started; for example
    'mpirun -H a:4,b:4'."""

    replay: str | None = None
    """Instead of a proof, repeat the run in this folder and print the first step at which the curves differ."""

    output: str | None = None
    """Folder for the measurements of a job that a launcher has already started."""

    def __post_init__(self) -> None:
        for model in self.models:
            check_choice("model", model, NETWORKS)
        for precision in self.precisions:
            check_choice("precision", precision, PRECISIONS)
        micro_batch_size = self.proof_micro_batch_size or self.proof_batch_size
        for count in (*self.workers, self.proof_steps, self.proof_batch_size, self.proof_group_size, micro_batch_size):
            if count < 1:
                raise UserError(f"{count} is not a number of workers, steps or samples: give whole numbers, 1 or more.")

    @property
    def compared_precisions(self) -> list[str]:
        """The precisions that are given, or the default ones."""
        if self.precisions:
            return self.precisions
        return ["float32"] if self.bits else [each for each in PRECISIONS if each != "float64"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a proof."""

    proof: ProofSettings
    data: DataSettings
    feed: FeedSettings
    augmentation: AugmentationSettings
    optimizer: OptimizerSettings
    regularisation: RegularisationSettings
    exchange: ExchangeSettings

    def __post_init__(self) -> None:
        self.learner(ModelSettings(), "float32")  # refuses settings that contradict each other

    def learner(self, model: ModelSettings, precision: str) -> LearnerSettings:
        """The settings that determine a training step of one network."""
        step = StepSettings(
            group_size=self.proof.proof_group_size,
            micro_batch_size=self.proof.proof_micro_batch_size,
            precision=precision,
            reproducible=self.proof.bits,
        )
        return learner_settings(self, model, step, _SEED)


class ReversedOrder(SampleOrder):
    """The same batches with the samples of each group in reverse order, so that sums round differently."""

    def plan(self, first_step: int, steps: int, rank: int, world_size: int) -> Plan:
        plan = super().plan(first_step, steps, rank, world_size)
        width = plan.indices.shape[1]
        groups = np.arange(width).reshape(-1, self.group_size if self.group_size > 1 else width)
        turned = groups[:, ::-1].ravel()  # batch normalisation must see the same groups
        return dataclasses.replace(
            plan, indices=plan.indices[:, turned], keys=plan.keys[:, turned], weights=plan.weights[:, turned]
        )


def measure(cluster: "Cluster", settings: Settings, folder: Path) -> None:
    """Measures every network with the workers of this job. Rank 0 writes FOLDER/NETWORK.npz."""
    check_output(cluster, folder)
    dataset = cluster.done_everywhere(lambda: open_dataset(settings.data))
    for model in settings.proof.models:
        measured = _measure_network(cluster, settings, ModelSettings(model=model), dataset)
        if cluster.is_chief:
            with open_new(folder / f"{model}.npz") as file:
                np.savez(file, **measured)  # type: ignore[arg-type]


def check_output(cluster: "Cluster", folder: Path) -> None:
    """Raises UserError on every rank when rank 0 cannot write to the folder of --output."""

    def check() -> None:
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise UserError(f"--output {folder} is not a folder that can be written to: create it, or name another.")

    cluster.on_chief(check)


def small_epoch(settings: Settings, model: str, dataset: "Dataset") -> tuple["Dataset", np.ndarray]:
    """The data set with the first images only, enlarged to the network's needs, and the indices of its samples.

    An epoch is three batches and a partial one.
    """
    from cnn.data.dataset import Part

    size = settings.proof.proof_batch_size
    samples = np.arange(3 * size + 3 * size // 10)
    images = _enlarged(dataset.train.images[samples], NETWORKS[model].smallest_image)
    part = Part(images=images, labels=dataset.train.labels[samples])
    return dataclasses.replace(dataset, train=part, input_size=None), samples


def _measure_network(
    cluster: "Cluster", settings: Settings, model_settings: ModelSettings, dataset: "Dataset"
) -> dict[str, np.ndarray]:
    import tensorflow as tf

    from cnn.learner.state import read_state, restore_state

    tf.get_logger().setLevel("ERROR")  # it warns about compiling several networks
    size, steps = settings.proof.proof_batch_size, settings.proof.proof_steps
    enlarged, samples = small_epoch(settings, model_settings.model, dataset)
    measured: dict[str, np.ndarray] = {}

    def make_learner(precision: str) -> Learner:
        learning = settings.learner(model_settings, precision)
        network = build_model(learning, enlarged)
        order = make_order(cluster, learning, network, samples, size)
        return assemble(cluster, learning, enlarged, order, network)

    def keep(name: str, what: str, values: Mapping[str, np.ndarray]) -> None:
        measured.update({f"{name}/{what}/{path}": value for path, value in values.items()})

    def keep_first_gradient(name: str, learner: Learner, step: "TrainingStep", plan: Plan) -> None:
        paths = [variable.path for variable in learner.model.trainable_variables]
        keep(name, "gradient", dict(zip(paths, step.gradients(plan), strict=True)))

    def run_first(precision: str, name: str) -> None:
        learner = make_learner(precision)
        for variable in learner.model.variables:  # float64's own first weights are others
            variable.assign(measured[f"float32/initial/{variable.path}"])
        plan = learner.order.plan(0, 1, cluster.rank, cluster.world_size)
        keep_first_gradient(name, learner, learner.make_step(), plan)

    def run(precision: str, orders: Mapping[str, type[SampleOrder]]) -> None:
        learner = make_learner(precision)
        step = learner.make_step()
        learning, start = settings.learner(model_settings, precision), read_state(learner.variables)
        state: dict[str, Any] = {variable.path: variable for variable in learner.model.variables}
        if learner.average is not None:
            state |= learner.average.variables
        for name, order_class in orders.items():
            restore_state(learner.variables, start, "the start")
            order = make_order(cluster, learning, learner.model, samples, size, order_class)
            plan = order.plan(0, steps, cluster.rank, cluster.world_size)
            keep(name, "initial", read_state(state))
            if name == "float32":  # the only run whose gradients are compared
                keep_first_gradient(name, learner, step, plan)
            step.run(plan, np.full(steps, settings.optimizer.learning_rate_for(size)))
            learner.sharded.gather()
            keep(name, "final", read_state(state))

    run("float64", {"float64": SampleOrder})
    alone = cluster.world_size == 1
    run("float32", {"float32": SampleOrder, **({"reordered": ReversedOrder} if alone else {})})
    if alone:
        if settings.proof.compared_precisions:
            run_first("float64", _EXACT)
        for precision in settings.proof.compared_precisions:
            if precision not in ("float32", "float64"):  # which are measured already
                run_first(precision, precision)
    return measured


def first_gradients(measured: Mapping[str, np.ndarray], precision: str) -> dict[str, np.ndarray]:
    """The first gradients in a precision by the variables' paths, computed with the same weights in each."""
    prefix = f"{_EXACT if precision == 'float64' else precision}/gradient/"
    return {path.removeprefix(prefix): measured[path] for path in measured if path.startswith(prefix)}


def _enlarged(images: np.ndarray, smallest: int) -> np.ndarray:
    """Repeats every pixel until the images are large enough for the network."""
    times = -(-smallest // min(images.shape[1:3]))
    return images.repeat(times, axis=1).repeat(times, axis=2)
