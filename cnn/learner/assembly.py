"""The assembly of a network, its optimizer and everything else that determines a step, alike in every program."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.data.dataset import Dataset
from cnn.data.order import SampleOrder
from cnn.errors import UserError
from cnn.learner.learner import Learner
from cnn.learner.learner_settings import LearnerSettings
from cnn.learner.precision import PRECISIONS, use_precision
from cnn.models.registry import looks_at_groups
from cnn.optim.frozen_layers import freeze_layers

if TYPE_CHECKING:
    import keras

    from cnn.cluster.ranks.collectives import Cluster
    from cnn.learner.exchange_selection import ChosenExchange


def build_model(settings: LearnerSettings, dataset: Dataset) -> "keras.Model":
    """Builds the network for the data set's images, with its initial weights, in the precision of the step.

    Raises:
        UserError: the images are too small for it, or the layers to freeze are not in it.
    """
    import tensorflow as tf

    from cnn.models.registry import build_network

    use_precision(settings.step.precision)
    if settings.step.uses_deterministic_kernels:
        tf.config.experimental.enable_op_determinism()
    model = build_network(settings.model, dataset.input_shape, dataset.classes, settings.seed)
    if settings.optimizer.freeze is not None:
        freeze_layers(model, settings.optimizer.freeze)
    return model


def make_order(
    cluster: "Cluster",
    settings: LearnerSettings,
    model: "keras.Model",
    samples: np.ndarray,
    global_batch_size: int,
    order_class: type[SampleOrder] = SampleOrder,
) -> SampleOrder:
    """Makes the order in which training visits the samples; every rank calls it.

    Samples stay together in groups if a layer of the network, mixup, CutMix or --reproducible depends on groups.

    Args:
        cluster: the workers.
        settings: everything that determines the step.
        model: the network, from `build_model`.
        samples: indices of the training images.
        global_batch_size: samples per step, over all ranks.
        order_class: the class of the order.

    Raises:
        UserError: a batch cannot be divided among the workers, or into micro-batches.
    """
    step = settings.step
    grouped = step.reproducible or looks_at_groups(model) or settings.augmentation.mixes
    group_size = step.group_size if grouped else 1
    with cluster.shared_errors():
        check_batches(global_batch_size, cluster.world_size, group_size, step.micro_batch_size)
    return order_class(samples, global_batch_size, settings.seed, group_size, step.micro_batch_size)


def check_batches(global_batch_size: int, world_size: int, group_size: int, micro_batch_size: int | None) -> None:
    """Raises UserError when a batch cannot be divided among the workers, or into micro-batches.

    Args:
        global_batch_size: samples per step, over all ranks.
        world_size: number of ranks.
        group_size: samples that stay together; 1 without groups.
        micro_batch_size: maximum number of samples that a rank computes at a time; None for all.
    """
    if micro_batch_size is not None and micro_batch_size % group_size:
        raise UserError(
            f"--micro_batch_size {micro_batch_size} is not a multiple of --group_size {group_size}, whose samples "
            "are computed together: give "
            f"{-(-micro_batch_size // group_size) * group_size}, or another group size."
        )
    if -(-global_batch_size // group_size) < world_size:
        part = "sample" if group_size == 1 else f"group of {group_size} samples"
        smaller = "" if group_size == 1 else " a smaller --group_size,"
        raise UserError(
            f"--global_batch_size {global_batch_size} is too small for {world_size} workers: each needs at least "
            f"one {part}, so give a larger batch,{smaller} or start fewer workers."
        )


def assemble(
    cluster: "Cluster",
    settings: LearnerSettings,
    dataset: Dataset,
    order: SampleOrder,
    model: "keras.Model",
    recorded_exchange: Mapping[str, Any] | None = None,
) -> Learner:
    """Assembles a learner; every rank calls it.

    Args:
        cluster: the workers.
        settings: everything that determines the step.
        dataset: the data; the network learns its training part.
        order: the order of samples, from `make_order`.
        model: the network, from `build_model`.
        recorded_exchange: the earlier job's record of its exchange of gradients, if this job continues its run.

    Raises:
        UserError: the settings do not fit each other.
    """
    from cnn.data.feed.feed import Feed
    from cnn.learner.exchange_selection import choose_exchange
    from cnn.learner.loss import balanced_weights
    from cnn.learner.loss_scale import make_loss_scale
    from cnn.learner.ordered_exchange_selection import choose_ordered_exchange
    from cnn.learner.state import state_variables
    from cnn.optim.averaging import make_average
    from cnn.optim.optimizers import build_optimizer

    precision = settings.step.precision
    chosen: ChosenExchange
    if settings.step.reproducible:
        chosen = choose_ordered_exchange(cluster, settings.exchange, model, order)
    else:
        samples, possible = order.width(cluster.world_size), settings.possible_ways
        chosen = choose_exchange(cluster, settings.exchange, model, samples, recorded_exchange, possible)
    sharded = chosen.exchange.sharded
    trained = sharded.trained(model.trainable_variables)
    optimizer = build_optimizer(settings.optimizer, settings.regularisation, trained, sharded)
    average = make_average(model, settings.regularisation, sharded)
    loss_scale = make_loss_scale(precision)
    dtype = PRECISIONS[precision]
    balanced = settings.regularisation.class_weights == "balanced"
    return Learner(
        settings=settings,
        order=order,
        model=model,
        optimizer=optimizer,
        average=average,
        loss_scale=loss_scale,
        variables=state_variables(model, optimizer, average, loss_scale, sharded=sharded),
        feed=Feed(dataset, dataset.train, dtype, settings.augmentation, resident_mb=settings.feed.resident_mb),
        exchange=chosen,
        class_weights=balanced_weights(dataset.train.labels[order.samples], dataset.classes) if balanced else None,
        threads=cluster.cores.threads,
    )
