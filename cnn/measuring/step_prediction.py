"""How long a step takes with other numbers of workers on other links: a model of what `jobs/benchmark.py` measures.

A step computes forward, then backward from the last layer to the first, each layer in proportion to its arithmetic.
What the exchange sends goes over the link one message after another, each as soon as its layer's gradient is there (a
bucket's: that of the last of its layers); of factored kernels the inputs go in the forward pass already. Sums go round
a ring. The step ends with the products of factors and the update, when the last message has come.

A message takes each hop's latency and its bytes by the link's rate. Besides, bytes take `host_seconds_per_byte` from
the core that computes, where it has to copy them, add them up and feed the network. Every worker has a link of its own
that carries both directions at once at the full rate; nothing else is on it, and no worker is slower than another.
"""

import dataclasses
import math
import re
from collections.abc import Sequence

from cnn.cluster.buckets import make_buckets
from cnn.cluster.exchange_cost import Kernel, allreduce_bytes, bucket_bytes, factored_bytes
from cnn.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer with weights, of the network in order."""

    name: str
    parameters: int
    """Trainable numbers, and moving statistics."""

    multiply_adds: int
    """Forward, of one image."""

    kernel: Kernel | None = None
    """That of a fully connected layer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
    """What one rank and the link reach."""

    compute_seconds: float
    """Forward and backward of the rank's samples, and making the batch."""

    update_seconds: float
    latency: float
    """Seconds of a message of nothing between two ranks."""

    link_rate: float
    """Bytes a second that a rank can send while it receives as many."""

    host_seconds_per_byte: float
    multiply_adds_per_second: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Message:
    """One collective."""

    ready: float
    """Seconds after the step's start."""

    hops: int
    sent: int
    """Bytes of each rank."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predicted:
    """A step."""

    workers: int
    step_seconds: float
    exchange_seconds: float
    """What the exchange adds to it."""

    sent_bytes: int
    """By each rank."""


def parse_rate(text: str) -> float:
    """Bytes a second of `25gbit`, `100mbit`, `1.5gbit`; UserError for what is no rate."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(kbit|mbit|gbit|tbit)", text)
    rate = float(match[1]) * {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12}[match[2]] / 8 if match else 0.0
    if not 1 <= rate < math.inf:
        raise UserError(f"'{text}' is not the rate of a link: give a number with its unit, as 100mbit or 25gbit.")
    return rate


def predict(
    layers: Sequence[Layer],
    costs: Costs,
    *,
    samples: int,
    workers: int,
    number_bytes: int = 4,
    factors: bool = True,
) -> Predicted:
    """A step of `samples` samples on each of so many workers.

    Args:
        layers: those with weights.
        costs: of one rank with its samples.
        samples: of each rank.
        workers: how many.
        number_bytes: of a number that is sent.
        factors: exchange fully connected layers in the cheaper way, instead of adding up all gradients.
    """
    alone = costs.compute_seconds + costs.update_seconds
    if workers == 1:
        return Predicted(workers=1, step_seconds=alone, exchange_seconds=0.0, sent_bytes=0)
    factored = {
        layer.name: layer.kernel
        for layer in layers
        if factors and layer.kernel is not None and _factors_pay(layer.kernel, costs, samples, workers, number_bytes)
    }
    extra = sum((workers - 1) * samples * kernel.size for kernel in factored.values()) / costs.multiply_adds_per_second
    messages = _messages(layers, factored, costs, samples, workers, number_bytes)
    sent = sum(message.sent for message in messages)
    busy = costs.host_seconds_per_byte * sent
    free = 0.0
    for message in sorted(messages, key=lambda message: message.ready):
        free = max(free, message.ready) + message.hops * costs.latency + message.sent / costs.link_rate
    seconds = max(costs.compute_seconds + busy, free) + extra + costs.update_seconds
    return Predicted(workers=workers, step_seconds=seconds, exchange_seconds=seconds - alone, sent_bytes=sent)


def _factors_pay(kernel: Kernel, costs: Costs, samples: int, workers: int, number_bytes: int) -> bool:
    byte = 1 / costs.link_rate + costs.host_seconds_per_byte
    summed = allreduce_bytes(kernel.size, workers, number_bytes) * byte
    gathered = factored_bytes(kernel, samples, workers, number_bytes) * byte
    return gathered + (workers - 1) * samples * kernel.size / costs.multiply_adds_per_second < summed


def _messages(
    layers: Sequence[Layer],
    factored: dict[str, Kernel],
    costs: Costs,
    samples: int,
    workers: int,
    number_bytes: int,
) -> list[Message]:
    """Of a step, with the times at which they are ready, were the core free of them."""
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
        row = hops * samples * number_bytes
        messages.append(Message(ready=begins[name], hops=hops, sent=row * kernel.inputs))
        messages.append(Message(ready=ends[name], hops=hops, sent=row * kernel.outputs))
    sizes = [
        number_bytes * (layer.parameters - (layer.kernel.size if layer.kernel and layer.name in factored else 0))
        for layer in layers
    ]
    for bucket in make_buckets(sizes, bucket_bytes(costs.link_rate)):
        sent = allreduce_bytes(sum(sizes[each] for each in bucket) // number_bytes, workers, number_bytes)
        ready = max(ends[layers[each].name] for each in bucket)
        messages.append(Message(ready=ready, hops=2 * hops, sent=sent))
    return messages
