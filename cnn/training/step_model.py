"""How long a step takes with other numbers of workers on other links: a model of what `jobs/benchmark.py` measures.

A step computes forward, then backward from the last layer to the first. What the exchange sends goes over the link one
message after another, each as soon as its layer's gradient is there (a bucket's: the last of its layers'; of factored
kernels the inputs in the forward pass already). The step ends with the update, when the last message has come.

A message costs each hop's latency and its bytes by the link's rate. Besides, bytes cost the rank's core: copies, sums
and the network's protocol take `host_seconds_per_byte` from computing where it has no core to spare.
"""

import dataclasses
from collections.abc import Sequence

from cnn.cluster.exchange import make_buckets
from cnn.cluster.exchange_choice import Kernel, allreduce_bytes, factored_bytes

_BUCKET_BYTES = 2**20


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


def step_seconds(layers: Sequence[Layer], costs: Costs, *, samples: int, workers: int, number_bytes: int = 4) -> float:
    """The time of a step of `samples` samples on each of so many workers.

    Each fully connected layer is exchanged in the cheaper way.
    """
    if workers == 1:
        return costs.compute_seconds + costs.update_seconds
    factored = {
        layer.name: layer.kernel
        for layer in layers
        if layer.kernel is not None and _factors_pay(layer.kernel, costs, samples, workers, number_bytes)
    }
    extra = sum((workers - 1) * samples * kernel.size for kernel in factored.values()) / costs.multiply_adds_per_second
    messages = _messages(layers, factored, costs, samples, workers, number_bytes)
    busy = costs.host_seconds_per_byte * sum(message.sent for message in messages)
    free = 0.0
    for message in sorted(messages, key=lambda message: message.ready):
        free = max(free, message.ready) + message.hops * costs.latency + message.sent / costs.link_rate
    return max(costs.compute_seconds + busy, free) + extra + costs.update_seconds


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
    for bucket in make_buckets(sizes, _BUCKET_BYTES):
        sent = allreduce_bytes(sum(sizes[each] for each in bucket) // number_bytes, workers, number_bytes)
        ready = max(ends[layers[each].name] for each in bucket)
        messages.append(Message(ready=ready, hops=2 * hops, sent=sent))
    return messages
