"""Model of the step time that `jobs/benchmark.py` measures, for other numbers of workers and other links.

A step computes the forward pass, then the backward pass from the last layer to the first, each layer in proportion to
its arithmetic. Messages of the exchange use the link one after another, each as soon as its layer's gradient is
computed (a bucket's: the gradient of its last layer); the inputs of factored kernels are sent in the forward pass
already. An allreduce and a gather are rings. After the last message the step ends with the products of factors and the
update. The messages of a sharded kernel are part of the forward and the backward pass, which wait for them; of its
update, each rank has a part.

A message takes the latency of its hops plus its bytes divided by the link's rate. In addition each byte takes
`host_seconds_per_byte` of the computing core, which copies and adds it and drives the network. Every worker has a
dedicated full-duplex link without other traffic, and no worker is slower than another.
"""

import dataclasses
import math
import re
from collections.abc import Collection, Mapping, Sequence

from cnn.cluster.exchange.buckets import make_buckets
from cnn.cluster.exchange.exchange_cost import (
    WAYS,
    Kernel,
    Overlap,
    Rates,
    allreduce_bytes,
    bucket_bytes,
    choose_exchange_per_kernel,
)
from cnn.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer with weights; a list of layers is in the order of the network."""

    name: str
    parameters: int
    """Number of trainable weights and moving statistics."""

    multiply_adds: int
    """Multiply-adds of the forward pass of one image."""

    kernel: Kernel | None = None
    """The kernel, if the layer is fully connected."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
    """Costs of one rank's step and rates of the link."""

    compute_seconds: float
    """Making the batch, and the forward and backward pass of the rank's samples."""

    update_seconds: float
    latency: float
    """Seconds of an empty message between two ranks."""

    link_rate: float
    """Bytes per second in each direction at the same time."""

    host_seconds_per_byte: float
    multiply_adds_per_second: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Message:
    """One collective."""

    ready: float
    """Seconds from the step's start until its data is computed."""

    hops: int
    sent: int
    """Bytes sent by each rank."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predicted:
    """A predicted step."""

    workers: int
    step_seconds: float
    exchange_seconds: float
    """Time that the exchange adds to the step; negative where each rank updates a part of the kernels and this saves
    more."""

    sent_bytes: int
    """Bytes sent by each rank."""


def parse_rate(text: str) -> float:
    """Converts a rate such as `25gbit`, `100mbit` or `1.5gbit` to bytes per second; raises UserError for others."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(kbit|mbit|gbit|tbit)", text)
    rate = float(match[1]) * {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12}[match[2]] / 8 if match else 0.0
    if not 1 <= rate < math.inf:
        raise UserError(f"'{text}' is not the rate of a link: set a number and a unit, for example 100mbit or 25gbit.")
    return rate


def predict(
    layers: Sequence[Layer],
    costs: Costs,
    *,
    samples: int,
    workers: int,
    gradient_bytes: int = 4,
    factor_bytes: int = 4,
    exchange: str = "auto",
    possible: Collection[str] = WAYS,
) -> Predicted:
    """Predicts a step.

    Args:
        layers: layers with weights.
        costs: costs of one rank with its samples.
        samples: samples per rank.
        workers: number of workers.
        gradient_bytes, factor_bytes, exchange, possible: as for `choose_exchange_per_kernel`, which chooses by the
            costs here.
    """
    alone = costs.compute_seconds + costs.update_seconds
    if workers == 1:
        return Predicted(workers=1, step_seconds=alone, exchange_seconds=0.0, sent_bytes=0)
    seconds_per_byte = 1 / costs.link_rate + costs.host_seconds_per_byte
    rates = Rates(
        latency=2 * (workers - 1) * costs.latency,
        sent_per_second=1 / seconds_per_byte,
        gathered_per_second=1 / seconds_per_byte,
        multiply_adds_per_second=costs.multiply_adds_per_second,
    )
    choices = choose_exchange_per_kernel(
        exchange,
        [layer.kernel for layer in layers if layer.kernel is not None],
        rates,
        samples=samples,
        world_size=workers,
        gradient_bytes=gradient_bytes,
        factor_bytes=factor_bytes,
        overlap=Overlap(
            hidden_seconds=_backward_seconds(layers, costs), core_seconds_per_byte=costs.host_seconds_per_byte
        ),
        possible=possible,
    )
    way_of = {choice.kernel.path: choice.way for choice in choices}
    kernels = {
        way: {layer.name: layer.kernel for layer in layers if layer.kernel and way_of[layer.kernel.path] == way}
        for way in WAYS
    }
    factored, sharded = kernels["factored"], kernels["sharded"].values()
    multiply_adds = sum((workers - 1) * samples * kernel.size for kernel in factored.values())
    messages = _messages(
        layers,
        factored,
        kernels["sharded"],
        costs,
        samples,
        workers,
        gradient_bytes=gradient_bytes,
        factor_bytes=factor_bytes,
    )
    waited_for = sum(choice.sent_bytes["sharded"] for choice in choices if choice.way == "sharded")
    # Of its four messages the gather goes round; the others go to all ranks at once.
    waiting = waited_for / costs.link_rate + len(sharded) * (workers - 1 + 3) * costs.latency
    sent = waited_for + sum(message.sent for message in messages)
    copying = costs.host_seconds_per_byte * sent
    link_free = 0.0
    for message in sorted(messages, key=lambda message: message.ready):
        link_free = max(link_free, message.ready) + message.hops * costs.latency + message.sent / costs.link_rate
    left_out = sum(kernel.size for kernel in sharded) * (workers - 1) / workers
    update = costs.update_seconds * (1 - left_out / max(1, sum(layer.parameters for layer in layers)))
    seconds = waiting + max(costs.compute_seconds + copying, link_free)
    seconds += multiply_adds / costs.multiply_adds_per_second + update
    return Predicted(workers=workers, step_seconds=seconds, exchange_seconds=seconds - alone, sent_bytes=sent)


def _backward_seconds(layers: Sequence[Layer], costs: Costs) -> float:
    """The time of the backward pass of all layers but the fully connected ones."""
    total = sum(layer.multiply_adds for layer in layers)
    others = sum(layer.multiply_adds for layer in layers if layer.kernel is None)
    return 2 * costs.compute_seconds / 3 * others / total


def _messages(
    layers: Sequence[Layer],
    factored: Mapping[str, Kernel],
    sharded: Collection[str],
    costs: Costs,
    samples: int,
    workers: int,
    *,
    gradient_bytes: int,
    factor_bytes: int,
) -> list[Message]:
    """The messages of a step but those of sharded kernels; their ready times neglect the core's time for copying."""
    total = sum(layer.multiply_adds for layer in layers)
    forward, backward = costs.compute_seconds / 3, 2 * costs.compute_seconds / 3
    begins, ends, done = {}, {}, 0.0
    for layer in layers:
        begins[layer.name] = forward * done
        done += layer.multiply_adds / total
    for layer in reversed(layers):
        ends[layer.name] = forward + backward * (1 - done)
        done -= layer.multiply_adds / total
        ends[layer.name] = forward + backward * (1 - done)
    hops, messages = workers - 1, []
    for name, kernel in factored.items():
        row = hops * samples * factor_bytes
        messages.append(Message(ready=begins[name], hops=hops, sent=row * kernel.inputs))
        messages.append(Message(ready=ends[name], hops=hops, sent=row * kernel.outputs))
    sizes = [
        gradient_bytes
        * (layer.parameters - (layer.kernel.size if layer.kernel and layer.name in {*factored, *sharded} else 0))
        for layer in layers
    ]
    for bucket in make_buckets(sizes, bucket_bytes(costs.link_rate)):
        sent = allreduce_bytes(sum(sizes[each] for each in bucket) // gradient_bytes, workers, gradient_bytes)
        ready = max(ends[layers[each].name] for each in bucket)
        messages.append(Message(ready=ready, hops=2 * hops, sent=sent))
    return messages
