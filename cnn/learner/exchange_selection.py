"""Chooses how a run exchanges gradients, by rates that are measured when it starts and reused when it is resumed."""

import dataclasses
import functools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from cnn.cluster.exchange.equal_products import first_differing_rank
from cnn.cluster.exchange.exchange import Exchange, make_exchange
from cnn.cluster.exchange.exchange_cost import (
    LARGEST_BUCKET,
    WAYS,
    ExchangeSettings,
    Kernel,
    KernelChoice,
    Overlap,
    Rates,
    allreduce_bytes,
    bucket_bytes,
    choice_table,
    choose_exchange_per_kernel,
)
from cnn.cluster.exchange.link import measure_rates
from cnn.cluster.exchange.ordered_exchange import OrderedExchange
from cnn.cluster.exchange.sharded_kernel import shard
from cnn.cluster.exchange.sharded_kernels import ShardedKernels
from cnn.cluster.ranks.collectives import Cluster
from cnn.errors import UserError
from cnn.models.dense import Dense
from cnn.models.layer_table import layer_rows
from cnn.optim.frozen_layers import changing_variables

_WORTH_MEASURING = 4 * 2**20
"""Minimum bytes of gradients for which the way of exchange matters."""

_MAX_MESSAGES = 500
"""Maximum per step: Horovod's cache holds 1,024, and it is slow with messages that are not in it."""


_CORE_SECONDS_PER_BYTE = 1 / 467e6
"""Seconds that a sent byte takes of a core, as measured with MPI over TCP (docs/speed.md)."""


class ChosenExchange(NamedTuple):
    """The exchange that the ranks agreed on."""

    exchange: Exchange | OrderedExchange

    record: dict[str, Any]
    """For the run folder and the checkpoints; a resumed run reuses its rates."""

    message: str
    """For the user; empty if there is nothing to report."""

    sent_bytes: int
    """Bytes that each rank sends in a step, computed by formula."""


def choose_exchange(
    cluster: Cluster,
    settings: ExchangeSettings,
    model: keras.Model,
    samples: int,
    earlier: Mapping[str, Any] | None,
    possible: Collection[str] = WAYS,
) -> ChosenExchange:
    """Chooses the exchange, the same on every rank.

    Args:
        cluster: the workers.
        settings: the way of exchange and the compression.
        model: the network.
        samples: samples per rank per step.
        earlier: the resumed run's record. If it was made with the same number of ranks, its rates are used instead of
            new measurements; the choice is made again.
        possible: the ways that `auto` may choose.

    Raises:
        UserError: the ranks compute different products, but the setting demands factors.
    """
    kernels, how, ranks = dense_kernels(model), settings.exchange, cluster.world_size
    compressed = settings.compression == "float16"
    gradient_bytes, factor_bytes = element_bytes(model, settings)
    total = sum(math.prod(variable.shape) for variable in changing_variables(model))
    record: dict[str, Any] = {
        "world_size": ranks,
        "factored": [],
        "sharded": [],
        "bucket_bytes": LARGEST_BUCKET,
    }
    message = ""
    if how in ("factored", "sharded") and not kernels:
        message = f"{model.name} has no fully connected layers for --exchange {how}: its gradients are summed."
    sent = allreduce_bytes(total, ranks, gradient_bytes)
    if ranks > 1 and (total * gradient_bytes >= _WORTH_MEASURING or how in ("factored", "sharded")):
        reuse_rates = earlier is not None and earlier.get("world_size") == ranks and "rates" in earlier
        rates = Rates(**earlier["rates"]) if reuse_rates and earlier else measure_rates(cluster)
        choose = functools.partial(
            choose_exchange_per_kernel,
            how,
            kernels,
            rates,
            samples=samples,
            world_size=ranks,
            gradient_bytes=gradient_bytes,
            factor_bytes=factor_bytes,
            overlap=_overlap(cluster, model, samples, rates),
        )
        choices = choose(possible=possible)
        difference = _differing_rank(cluster, choices, samples, model.variable_dtype)
        if difference and how == "factored":
            raise UserError(f"--exchange factored cannot work: {difference}; choose --exchange auto.", agreed=True)
        if difference:
            choices = choose(possible=[way for way in possible if way != "factored"])
        paths = {way: [choice.kernel.path for choice in choices if choice.way == way] for way in WAYS}
        sent += sum(choice.sent_bytes[choice.way] - choice.sent_bytes["allreduce"] for choice in choices)
        record |= {
            "factored": paths["factored"],
            "sharded": paths["sharded"],
            "bucket_bytes": max(bucket_bytes(rates.sent_per_second), sent // _MAX_MESSAGES),
            "rates": dataclasses.asdict(rates),
        }
        if difference:
            message = f"{difference}: gradients are summed instead of being exchanged as factors."
        elif not reuse_rates:
            message = message or choice_table(choices, rates)
    exchange = make_exchange(
        cluster,
        frozenset(record["factored"]),
        record["bucket_bytes"],
        sharded=_sharded(cluster, model, record["sharded"]),
        compressed=compressed,
    )
    return ChosenExchange(exchange, record, message, sent)


def element_bytes(model: keras.Model, settings: ExchangeSettings) -> tuple[int, int]:
    """The bytes of a number of a gradient, and of one of a layer's inputs or outputs, as they are sent."""
    largest = 2 if settings.compression == "float16" else 8
    gradient, factor = (min(tf.as_dtype(each).size, largest) for each in (model.variable_dtype, model.compute_dtype))
    return gradient, factor


def _overlap(cluster: Cluster, model: keras.Model, samples: int, rates: Rates) -> Overlap:
    """How far a step hides messages: the arithmetic of the backward pass of what is not fully connected."""
    others = sum(row.multiply_adds for row in layer_rows(model)) - sum(each.size for each in dense_kernels(model))
    return Overlap(
        hidden_seconds=2 * samples * others / rates.multiply_adds_per_second,
        core_seconds_per_byte=_CORE_SECONDS_PER_BYTE if cluster.devices.gpu == "none" else 0.0,
    )


def _sharded(cluster: Cluster, model: keras.Model, paths: Sequence[str]) -> ShardedKernels:
    """Divides some of a network's kernels among the ranks."""
    variables = {variable.path: variable for variable in model.trainable_variables}
    return ShardedKernels([shard(cluster, variables[path]) for path in paths], cluster)


def _differing_rank(cluster: Cluster, choices: Sequence[KernelChoice], samples: int, dtype: str) -> str:
    """Names, on every rank, a rank whose products of factors differ from rank 0's; empty if there is none."""
    kernels = [choice.kernel for choice in choices if choice.way == "factored"]
    differing_rank = first_differing_rank(cluster, kernels, samples * cluster.world_size, dtype) if kernels else None
    if differing_rank is None:
        return ""
    hosts = f"rank {differing_rank} (on {cluster.peers[differing_rank][0]}) and rank 0 (on {cluster.peers[0][0]})"
    return f"{hosts} have different processors or numbers of threads, so their products differ in the last digits"


def dense_kernels(model: keras.Model) -> list[Kernel]:
    """The kernels of a network's fully connected layers that are not frozen, in the layers' order."""
    layers = [layer for layer in model.layers if isinstance(layer, Dense) and layer.trainable]
    return [
        Kernel(path=layer.kernel.path, inputs=layer.kernel.shape[0], outputs=layer.kernel.shape[1]) for layer in layers
    ]
