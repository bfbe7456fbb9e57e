"""Chooses the exchange of a reproducible run by numbers that do not depend on the workers."""

import math

import keras
import tensorflow as tf

from cnn.cluster.exchange.exchange_cost import (
    LARGEST_BUCKET,
    SMALL_KERNEL,
    ExchangeSettings,
    Kernel,
    allgather_bytes,
)
from cnn.cluster.exchange.ordered_exchange import OrderedExchange
from cnn.cluster.exchange.sum_tree import SumTrees
from cnn.cluster.ranks.arithmetic import arithmetic, differing_rank
from cnn.cluster.ranks.collectives import Cluster
from cnn.data.order import SampleOrder, rank_bounds
from cnn.errors import UserError
from cnn.learner.exchange_selection import ChosenExchange, dense_kernels


def choose_ordered_exchange(
    cluster: Cluster, settings: ExchangeSettings, model: keras.Model, order: SampleOrder
) -> ChosenExchange:
    """Chooses the exchange whose sums have the same bits for any number of ranks; every rank calls it.

    Args:
        cluster: the workers.
        settings: the way of exchange.
        model: the network.
        order: the order of samples.

    Raises:
        UserError: the ranks have different processors.
    """
    ranks, counts = cluster.world_size, order.group_counts
    differing = differing_rank(arithmetic(cluster))
    if differing:
        raise UserError(
            f"--reproducible needs the same kind of processor for every worker, but {differing}: use hosts of one "
            "kind, or leave --reproducible out.",
            agreed=True,
        )
    samples = counts[-1] * order.group_size
    factored = [each for each in dense_kernels(model) if _is_factored(settings.exchange, each, samples)]
    trees = SumTrees(counts, [rank_bounds(each, ranks) for each in counts], cluster.rank)
    exchange = OrderedExchange(cluster, trees, frozenset(kernel.path for kernel in factored))
    summed_bytes, factor_bytes = (tf.as_dtype(each).size for each in (model.variable_dtype, model.compute_dtype))
    summed = sum(math.prod(variable.shape) for variable in model.variables) - sum(kernel.size for kernel in factored)
    widths = sum(kernel.inputs + kernel.outputs for kernel in factored)
    sent = (ranks - 1) * (int(trees.slots[-1]) + 1) * summed * summed_bytes // ranks
    sent += allgather_bytes(trees.largest_share * order.group_size * widths, ranks, factor_bytes)
    record = {
        "world_size": ranks,
        "factored": [kernel.path for kernel in factored],
        "bucket_bytes": LARGEST_BUCKET,
    }
    return ChosenExchange(exchange, record, "", sent)


def _is_factored(exchange: str, kernel: Kernel, samples: int) -> bool:
    """Whether a kernel's gradient is computed from the factors of a batch of so many samples.

    With `auto`, if they have fewer numbers than the gradients that two workers would send. This does not depend on the
    number of workers, because either way rounds differently.
    """
    fewer = samples * (kernel.inputs + kernel.outputs) < 2 * kernel.size
    return exchange == "factored" or (exchange == "auto" and kernel.size >= SMALL_KERNEL and fewer)
