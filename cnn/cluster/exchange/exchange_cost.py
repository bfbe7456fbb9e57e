"""The choice of the way in which each fully connected layer is exchanged: a cost model based on measured rates."""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence

from cnn.choices import check_choice, one_of

WAYS = ("allreduce", "factored", "sharded")
EXCHANGES = ("auto", *WAYS)
COMPRESSIONS = ("none", "float16")

_MAX_TIME_RATIO = 0.9
"""A way is chosen instead of another below this ratio of their times: measurements are noisy, and a run started again
should make the same choice."""

LARGEST_BUCKET = 16 * 2**20
_SMALLEST_BUCKET = 2**18
_MESSAGE_SECONDS = 0.04
"""Target duration of a message: on a slow link, a longer one delays the gradients that are computed meanwhile."""

SMALL_KERNEL = 250_000
"""Elements; a smaller kernel is not worth separate messages."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExchangeSettings:
    """How workers exchange gradients."""

    exchange: str = one_of(lambda: EXCHANGES, "auto")
    """allreduce: the workers add up the gradients. factored: for fully connected layers, whose gradients are matrix
    products, the workers send the far smaller factors, and each multiplies them. sharded: each worker trains a part of
    every fully connected layer with the samples of all; the workers send inputs, outputs and their gradients, and
    compute nothing twice. auto: the fastest way for each layer, according to the speed of the link and the processors
    measured at the start. The result is the same."""

    compression: str = one_of(lambda: COMPRESSIONS, "none")
    """float16: gradients are sent as float16, which halves the bytes. This is not exact: values smaller than 6e-8 are
    lost, and the result depends on the number of workers."""

    def __post_init__(self) -> None:
        check_choice("exchange", self.exchange, EXCHANGES)
        check_choice("compression", self.compression, COMPRESSIONS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kernel:
    """A fully connected layer's kernel."""

    path: str
    inputs: int
    outputs: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.inputs * self.outputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """The rates of a job's slowest rank, measured while nothing else runs."""

    latency: float
    """Seconds that the smallest collective takes."""

    sent_per_second: float
    """Bytes per second that a rank sends during a large allreduce."""

    gathered_per_second: float
    """Bytes per second that a rank receives during a large allgather."""

    multiply_adds_per_second: float
    """Multiply-adds per second of a matrix product on a rank's device."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overlap:
    """How far a step hides the messages of gradients and factors, which it does not wait for at once."""

    hidden_seconds: float
    """Seconds in which a rank computes other gradients after those of the fully connected layers."""

    core_seconds_per_byte: float
    """Seconds that a sent byte takes of the core that computes, which hides none of them; 0 on a GPU."""

    def exposed(self, seconds: float, sent_bytes: int) -> float:
        """The seconds by which a message of so many seconds and bytes lengthens the step, if no other one is hidden."""
        return max(min(seconds, sent_bytes * self.core_seconds_per_byte), seconds - self.hidden_seconds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelChoice:
    """The costs of one kernel's exchange in each of WAYS, and the decision.

    Bytes and seconds are those of one step; bytes count those that a rank sends or forwards.
    """

    kernel: Kernel
    sent_bytes: Mapping[str, int]
    seconds: Mapping[str, float]
    way: str
    """The way that is chosen."""


def allreduce_bytes(size: int, world_size: int, element_bytes: int) -> int:
    """The bytes that each rank sends in a ring allreduce of `size` elements, which is bandwidth-optimal."""
    return 2 * (world_size - 1) * size * element_bytes // world_size


def allgather_bytes(size: int, world_size: int, element_bytes: int) -> int:
    """The bytes that each rank sends or forwards in an allgather to which each contributes `size` elements."""
    return (world_size - 1) * size * element_bytes


def factored_bytes(kernel: Kernel, samples: int, world_size: int, element_bytes: int) -> int:
    """The bytes that each rank sends or forwards in an allgather of the factors of `samples` samples per rank."""
    return allgather_bytes(samples * (kernel.inputs + kernel.outputs), world_size, element_bytes)


def slice_height(height: int, world_size: int) -> int:
    """The number of rows that each rank holds of a matrix with `height` rows, those that fill up included."""
    return -(-height // world_size)


def sharded_bytes(kernel: Kernel, samples: int, world_size: int, element_bytes: int) -> int:
    """The bytes that each rank sends or forwards for `samples` samples per rank with a kernel divided by its rows.

    It sends columns of the inputs, and the gradients by these; and it sends, forward, its products of the other ranks'
    samples, and, backward, the gradients of its samples' outputs.
    """
    rows = slice_height(kernel.inputs, world_size)
    return 2 * allgather_bytes(samples * (rows + kernel.outputs), world_size, element_bytes)


def choose_exchange_per_kernel(
    exchange: str,
    kernels: Sequence[Kernel],
    rates: Rates,
    *,
    samples: int,
    world_size: int,
    gradient_bytes: int,
    factor_bytes: int,
    overlap: Overlap,
    possible: Collection[str] = WAYS,
) -> list[KernelChoice]:
    """Decides for each kernel in which way it is exchanged.

    Args:
        exchange: auto, or one of WAYS.
        kernels: the network's fully connected kernels.
        rates: the measured rates.
        samples: samples per rank per step.
        world_size: number of ranks.
        gradient_bytes: bytes per element of a gradient.
        factor_bytes: bytes per element of a layer's inputs and outputs, whose type is shorter in mixed precision.
        overlap: how far a step hides messages.
        possible: the ways that auto may choose.
    """
    choices = []
    for kernel in kernels:
        sent = {
            "allreduce": allreduce_bytes(kernel.size, world_size, gradient_bytes),
            "factored": factored_bytes(kernel, samples, world_size, factor_bytes),
            "sharded": sharded_bytes(kernel, samples, world_size, factor_bytes),
        }
        # With factors, a rank multiplies those of the other ranks' samples besides its own.
        multiplication = (world_size - 1) * samples * kernel.size / rates.multiply_adds_per_second
        seconds = {
            "allreduce": rates.latency + sent["allreduce"] / rates.sent_per_second,
            "factored": 2 * rates.latency + sent["factored"] / rates.gathered_per_second + multiplication,
            "sharded": 4 * rates.latency + sent["sharded"] / rates.gathered_per_second,
        }
        exposed = {
            "allreduce": overlap.exposed(seconds["allreduce"], sent["allreduce"]),
            "factored": overlap.exposed(seconds["factored"] - multiplication, sent["factored"]) + multiplication,
        }
        way = _fastest(kernel, seconds, exposed, possible) if exchange == "auto" else exchange
        choices.append(KernelChoice(kernel=kernel, sent_bytes=sent, seconds=seconds, way=way))
    return choices


def _fastest(
    kernel: Kernel, seconds: Mapping[str, float], exposed: Mapping[str, float], possible: Collection[str]
) -> str:
    """The way that is clearly the fastest; allreduce if none is, and for small kernels.

    A step waits for the messages of a sharded kernel. So their time must be less than what computing does not hide of
    the best other way.
    """
    if kernel.size < SMALL_KERNEL:
        return "allreduce"
    best = "allreduce"
    if "factored" in possible and seconds["factored"] < _MAX_TIME_RATIO * seconds["allreduce"]:
        best = "factored"
    if "sharded" in possible and seconds["sharded"] < _MAX_TIME_RATIO * exposed[best]:
        best = "sharded"
    return best


def bucket_bytes(sent_per_second: float) -> int:
    """The target bytes per message on a link of this rate: a power of two."""
    target = max(1, sent_per_second * _MESSAGE_SECONDS)
    return max(_SMALLEST_BUCKET, min(LARGEST_BUCKET, 1 << round(math.log2(target))))


def choice_table(choices: Sequence[KernelChoice], rates: Rates) -> str:
    """Formats the choices as a table."""
    mebibytes = bucket_bytes(rates.sent_per_second) / 2**20
    longest = max((len(choice.kernel.path) for choice in choices), default=0)
    lines = [
        f"exchange: {rates.sent_per_second / 1e6:,.0f} MB/s in messages of {mebibytes:g} MiB, "
        f"latency {1e3 * rates.latency:.1f} ms, {2 * rates.multiply_adds_per_second / 1e9:,.0f} GFLOP/s",
        f"{'MB and ms':<{longest}} {' '.join(f'{way:>17}' for way in WAYS)}  choice",
    ]
    for choice in choices:
        costs = (f"{choice.sent_bytes[way] / 1e6:,.1f} {1e3 * choice.seconds[way]:10,.1f}" for way in WAYS)
        lines.append(f"{choice.kernel.path:<{longest}} {' '.join(f'{cost:>17}' for cost in costs)}  {choice.way}")
    return "\n".join(lines)
