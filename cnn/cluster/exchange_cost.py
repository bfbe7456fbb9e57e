"""Which fully connected layers are exchanged as factors: a model of what either way costs on a measured link."""

import dataclasses
import math
from collections.abc import Sequence

from cnn.choices import check_choice, one_of

EXCHANGES = ("auto", "allreduce", "factored")
COMPRESSIONS = ("none", "float16")

_WORTH = 0.9
"""The part of the time that factors must stay below: measurements are noisy, and a run started again should choose the
same."""

LARGEST_BUCKET = 16 * 2**20
_SMALLEST_BUCKET = 2**18
_SECONDS_OF_A_MESSAGE = 0.04
"""What a message should take: on a slow link long ones stall MPI where the core is busy, and keep later layers'
gradients waiting. Two ranks with a core each at 100 Mbit/s: messages of 0.5 MB get through at 10.6 MB/s, of 5 MB at
7.7."""

SMALL_KERNEL = 250_000
"""Numbers of a kernel that is not worth messages of its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExchangeSettings:
    """How workers exchange gradients."""

    exchange: str = one_of(lambda: EXCHANGES, "auto")
    """allreduce: gradients are added up. factored: of the fully connected layers' gradients, which are products, the
    workers send the far smaller factors, and each multiplies them. auto: whichever is faster for each layer, by what
    the link and the processors are measured to give at the start. The result is the same."""

    compression: str = one_of(lambda: COMPRESSIONS, "none")
    """float16: gradients are sent as float16, which halves the bytes. This is not exact: what is smaller than 6e-8 is
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
        """Its numbers."""
        return self.inputs * self.outputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """What a job's slowest rank was measured to reach, alone with the exchange."""

    latency: float
    """Seconds that the smallest collective takes."""

    sent_per_second: float
    """Bytes that a rank sends while a large allreduce goes on."""

    gathered_per_second: float
    """Bytes that a rank receives while a large gather goes on."""

    multiply_adds_per_second: float
    """Of a matrix product on a rank's device."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """One kernel both ways; bytes are those that a rank sends in a step, or passes on."""

    kernel: Kernel
    allreduce_bytes: int
    factored_bytes: int
    allreduce_seconds: float
    factored_seconds: float
    factored: bool


def allreduce_bytes(size: int, world_size: int, number_bytes: int) -> int:
    """What each rank sends to add up `size` numbers over all, by the ring that uses the link best."""
    return 2 * (world_size - 1) * size * number_bytes // world_size


def factored_bytes(kernel: Kernel, samples: int, world_size: int, number_bytes: int) -> int:
    """What each rank sends, or passes on, so that all have the factors of `samples` samples of each."""
    return (world_size - 1) * samples * (kernel.inputs + kernel.outputs) * number_bytes


def choose(
    exchange: str,
    kernels: Sequence[Kernel],
    rates: Rates,
    *,
    samples: int,
    world_size: int,
    gradient_bytes: int,
    factor_bytes: int,
) -> list[Choice]:
    """Compares both ways for each kernel, and chooses as `exchange` says.

    Args:
        exchange: auto, allreduce or factored.
        kernels: of the network.
        rates: measured.
        samples: of one rank in a step.
        world_size: number of ranks.
        gradient_bytes: of a number of a gradient.
        factor_bytes: of a number of a factor, which mixed precision has in a shorter type.
    """
    choices = []
    for kernel in kernels:
        summed = allreduce_bytes(kernel.size, world_size, gradient_bytes)
        gathered = factored_bytes(kernel, samples, world_size, factor_bytes)
        allreduce = rates.latency + summed / rates.sent_per_second
        # The ranks' own samples are multiplied either way.
        others = (world_size - 1) * samples * kernel.size
        factored = 2 * rates.latency + gathered / rates.gathered_per_second + others / rates.multiply_adds_per_second
        better = kernel.size >= SMALL_KERNEL and factored < _WORTH * allreduce
        choices.append(
            Choice(
                kernel=kernel,
                allreduce_bytes=summed,
                factored_bytes=gathered,
                allreduce_seconds=allreduce,
                factored_seconds=factored,
                factored=exchange == "factored" or (exchange == "auto" and better),
            )
        )
    return choices


def bucket_bytes(sent_per_second: float) -> int:
    """About what a message should hold on a link of such a rate: a power of two."""
    wanted = sent_per_second * _SECONDS_OF_A_MESSAGE
    return max(_SMALLEST_BUCKET, min(LARGEST_BUCKET, 1 << round(math.log2(wanted))))


def choice_table(choices: Sequence[Choice], rates: Rates) -> str:
    """The choices as text."""
    mebibytes = bucket_bytes(rates.sent_per_second) / 2**20
    lines = [
        f"exchange: {rates.sent_per_second / 1e6:,.0f} MB/s in messages of {mebibytes:g} MiB, "
        f"latency {1e3 * rates.latency:.1f} ms, {2 * rates.multiply_adds_per_second / 1e9:,.0f} GFLOP/s",
        f"{'kernel':<24} {'allreduce':>20} {'factored':>20}  choice",
    ]
    for each in choices:
        allreduce = f"{each.allreduce_bytes / 1e6:,.1f} MB {1e3 * each.allreduce_seconds:8,.1f} ms"
        factored = f"{each.factored_bytes / 1e6:,.1f} MB {1e3 * each.factored_seconds:8,.1f} ms"
        chosen = "factored" if each.factored else "allreduce"
        lines.append(f"{each.kernel.path:<24} {allreduce:>20} {factored:>20}  {chosen}")
    return "\n".join(lines)
