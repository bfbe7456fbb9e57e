"""Which exchange a run uses: chosen when it starts, kept when it goes on."""

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
"""Bytes of gradients from which on it matters how they travel."""


_MAX_MESSAGES = 500
"""Of a step: Horovod remembers 1,024, and is slow with what it has forgotten."""


class ChosenExchange(NamedTuple):
    """What the ranks agreed on."""

    exchange: Exchange

    record: dict[str, Any]
    """For the run folder and the checkpoints, from which a run that goes on has it again."""

    said: str
    """For the user; empty where there was nothing to choose."""

    sent_bytes: int
    """By each rank in a step, by formula."""


def choose_exchange(
    cluster: Cluster, settings: ExchangeSettings, model: keras.Model, samples: int, earlier: Mapping[str, Any] | None
) -> ChosenExchange:
    """Chooses, the same on every rank.

    Args:
        cluster: the job.
        settings: how.
        model: the network.
        samples: of one rank in a step.
        earlier: the record that the run to go on from has. It holds for as many ranks as had made it.
    """
    kernels, how, ranks = dense_kernels(model), settings.exchange, cluster.world_size
    compressed = settings.compression == "float16"
    number, factor = (tf.as_dtype(kind).size for kind in (model.variable_dtype, model.compute_dtype))
    if compressed:
        number, factor = min(number, 2), min(factor, 2)
    total = sum(math.prod(variable.shape) for variable in model.variables)
    record: dict[str, Any] = {"world_size": ranks, "factored": [], "bucket_bytes": LARGEST_BUCKET}
    said = ""
    if how == "factored" and not kernels:
        said = f"{model.name} has no fully connected layers to exchange as factors: gradients are added up."
    sent = allreduce_bytes(total, ranks, number)
    if ranks > 1 and (total * number >= _WORTH_MEASURING or how == "factored"):
        again = earlier is not None and earlier.get("world_size") == ranks and "rates" in earlier
        rates = Rates(**earlier["rates"]) if again and earlier else measure_rates(cluster)
        choices = choose(
            how,
            kernels,
            rates,
            samples=samples,
            world_size=ranks,
            gradient_bytes=number,
            factor_bytes=factor,
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
            said = f"{odd}: gradients are added up instead of being exchanged as factors."
        elif not again:
            said = said or choice_table(choices, rates)
    factored_paths = frozenset(record["factored"])
    exchange = make_exchange(cluster, factored_paths, record["bucket_bytes"], compressed=compressed)
    return ChosenExchange(exchange, record, said, sent)


def _odd_rank(cluster: Cluster, choices: Sequence[Choice], samples: int, dtype: str) -> str:
    """Says which rank cannot multiply factors as rank 0 does, on every rank; empty if all can, or none need."""
    kernels = [each.kernel for each in choices if each.factored]
    odd = first_differing_rank(cluster, kernels, samples * cluster.world_size, dtype) if kernels else None
    if odd is None:
        return ""
    hosts = f"rank {odd} (on {cluster.peers[odd][0]}) and rank 0 (on {cluster.peers[0][0]})"
    return f"{hosts} have other processors or numbers of threads, so that their products differ in the last digits"


def dense_kernels(model: keras.Model) -> list[Kernel]:
    """Those of a network's fully connected layers, in their order."""
    layers = [layer for layer in model.layers if isinstance(layer, Dense)]
    return [
        Kernel(path=layer.kernel.path, inputs=layer.kernel.shape[0], outputs=layer.kernel.shape[1]) for layer in layers
    ]
