"""Which exchange a run uses: chosen when it starts, kept when it is resumed."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from cnn.cluster.collectives import Cluster
from cnn.cluster.equal_products import first_differing_rank
from cnn.cluster.exchange import Exchange, make_exchange
from cnn.cluster.exchange_cost import (
    LARGEST_BUCKET,
    Choice,
    ExchangeSettings,
    Kernel,
    Rates,
    allreduce_bytes,
    bucket_bytes,
    choice_table,
    choose,
)
from cnn.cluster.link import measure_rates
from cnn.errors import UserError
from cnn.models.dense import Dense

_WORTH_MEASURING = 4 * 2**20
"""Minimum bytes of gradients for which the way of exchange matters."""

_MAX_MESSAGES = 500
"""Maximum per step: Horovod's cache holds 1,024, and it is slow with messages that are not in it."""


class ChosenExchange(NamedTuple):
    """The exchange that the ranks agreed on."""

    exchange: Exchange

    record: dict[str, Any]
    """For the run folder and the checkpoints, from which a resumed run takes it."""

    message: str
    """For the user; empty where there was nothing to choose."""

    sent_bytes: int
    """Bytes that each rank sends in a step, computed by formula."""


def choose_exchange(
    cluster: Cluster, settings: ExchangeSettings, model: keras.Model, samples: int, earlier: Mapping[str, Any] | None
) -> ChosenExchange:
    """Chooses the exchange, the same on every rank.

    Args:
        cluster: the workers.
        settings: the way of exchange and the compression.
        model: the network.
        samples: samples per rank per step.
        earlier: the resumed run's record, which is used if it was made with the same number of ranks.
    """
    kernels, how, ranks = dense_kernels(model), settings.exchange, cluster.world_size
    compressed = settings.compression == "float16"
    gradient_bytes, factor_bytes = (tf.as_dtype(dtype).size for dtype in (model.variable_dtype, model.compute_dtype))
    if compressed:
        gradient_bytes, factor_bytes = min(gradient_bytes, 2), min(factor_bytes, 2)
    total = sum(math.prod(variable.shape) for variable in model.variables)
    record: dict[str, Any] = {"world_size": ranks, "factored": [], "bucket_bytes": LARGEST_BUCKET}
    message = ""
    if how == "factored" and not kernels:
        message = f"{model.name} has no fully connected layers to exchange as factors: its gradients are summed."
    sent = allreduce_bytes(total, ranks, gradient_bytes)
    if ranks > 1 and (total * gradient_bytes >= _WORTH_MEASURING or how == "factored"):
        reused = earlier is not None and earlier.get("world_size") == ranks and "rates" in earlier
        rates = Rates(**earlier["rates"]) if reused and earlier else measure_rates(cluster)
        choices = choose(
            how,
            kernels,
            rates,
            samples=samples,
            world_size=ranks,
            gradient_bytes=gradient_bytes,
            factor_bytes=factor_bytes,
        )
        odd = _odd_rank(cluster, choices, samples, model.variable_dtype)
        if odd and how == "factored":
            raise UserError(f"--exchange factored cannot work: {odd}; choose --exchange auto.", agreed=True)
        factored = [] if odd else [each for each in choices if each.factored]
        sent += sum(each.factored_bytes - each.allreduce_bytes for each in factored)
        record |= {
            "factored": [each.kernel.path for each in factored],
            "bucket_bytes": max(bucket_bytes(rates.sent_per_second), sent // _MAX_MESSAGES),
            "rates": dataclasses.asdict(rates),
        }
        if odd:
            message = f"{odd}: gradients are summed instead of being exchanged as factors."
        elif not reused:
            message = message or choice_table(choices, rates)
    factored_paths = frozenset(record["factored"])
    exchange = make_exchange(cluster, factored_paths, record["bucket_bytes"], compressed=compressed)
    return ChosenExchange(exchange, record, message, sent)


def _odd_rank(cluster: Cluster, choices: Sequence[Choice], samples: int, dtype: str) -> str:
    """Names, on every rank, one whose products of factors differ from rank 0's; empty if there is no such rank."""
    kernels = [each.kernel for each in choices if each.factored]
    odd = first_differing_rank(cluster, kernels, samples * cluster.world_size, dtype) if kernels else None
    if odd is None:
        return ""
    hosts = f"rank {odd} (on {cluster.peers[odd][0]}) and rank 0 (on {cluster.peers[0][0]})"
    return f"{hosts} have different processors or numbers of threads, so their products differ in the last digits"


def dense_kernels(model: keras.Model) -> list[Kernel]:
    """The kernels of a network's fully connected layers, in the layers' order."""
    layers = [layer for layer in model.layers if isinstance(layer, Dense)]
    return [
        Kernel(path=layer.kernel.path, inputs=layer.kernel.shape[0], outputs=layer.kernel.shape[1]) for layer in layers
    ]
