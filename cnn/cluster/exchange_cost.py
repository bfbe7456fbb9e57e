"""The choice of the fully connected layers that are exchanged as factors: a cost model based on measured rates."""

import dataclasses
import math
from collections.abc import Sequence

from cnn.choices import check_choice, one_of

EXCHANGES = ("auto", "allreduce", "factored")
COMPRESSIONS = ("none", "float16")

_MAX_TIME_RATIO = 0.9
"""Factors are chosen below this ratio of their time to the allreduce's: measurements are noisy, and a run started again
should make the same choice."""

LARGEST_BUCKET = 16 * 2**20
_SMALLEST_BUCKET = 2**18
_MESSAGE_SECONDS = 0.04
"""Target duration of a message: on a slow link, longer ones stall MPI while the core is busy, and delay the gradients
of later layers. Two ranks with a core each at 100 Mbit/s reach 10.6 MB/s with messages of 0.5 MB, 7.7 with 5 MB."""

SMALL_KERNEL = 250_000
"""Elements; a smaller kernel is not worth separate messages."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExchangeSettings:
    """How workers exchange gradients."""

    exchange: str = one_of(lambda: EXCHANGES, "auto")
    """allreduce: the workers add up the gradients. factored: for fully connected layers, whose gradients are matrix
    products, the workers send the far smaller factors, and each multiplies them. auto: the faster way for each layer,
    according to the speed of the link and the processors measured at the start. The result is the same."""

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
class KernelChoice:
    """The costs of exchanging one kernel's gradient either way, and the decision.

    Bytes and seconds are those of one step; bytes count those that a rank sends or forwards.
    """

    kernel: Kernel
    allreduce_bytes: int
    factored_bytes: int
    allreduce_seconds: float
    factored_seconds: float
    factored: bool


def allreduce_bytes(size: int, world_size: int, element_bytes: int) -> int:
    """The bytes that each rank sends in a ring allreduce of `size` elements, which is bandwidth-optimal."""
    return 2 * (world_size - 1) * size * element_bytes // world_size


def allgather_bytes(size: int, world_size: int, element_bytes: int) -> int:
    """The bytes that each rank sends or forwards in an allgather to which each contributes `size` elements."""
    return (world_size - 1) * size * element_bytes


def factored_bytes(kernel: Kernel, samples: int, world_size: int, element_bytes: int) -> int:
    """The bytes that each rank sends or forwards in an allgather of the factors of `samples` samples per rank."""
    return allgather_bytes(samples * (kernel.inputs + kernel.outputs), world_size, element_bytes)


def choose_exchange_per_kernel(
    exchange: str,
    kernels: Sequence[Kernel],
    rates: Rates,
    *,
    samples: int,
    world_size: int,
    gradient_bytes: int,
    factor_bytes: int,
) -> list[KernelChoice]:
    """Decides for each kernel whether its factors are exchanged instead of its gradient.

    Args:
        exchange: auto, allreduce or factored.
        kernels: the network's fully connected kernels.
        rates: the measured rates.
        samples: samples per rank per step.
        world_size: number of ranks.
        gradient_bytes: bytes per element of a gradient.
        factor_bytes: bytes per element of a factor, whose type is shorter in mixed precision.
    """
    choices = []
    for kernel in kernels:
        summed = allreduce_bytes(kernel.size, world_size, gradient_bytes)
        gathered = factored_bytes(kernel, samples, world_size, factor_bytes)
        allreduce = rates.latency + summed / rates.sent_per_second
        # A rank multiplies the factors of its local samples either way.
        multiply_adds = (world_size - 1) * samples * kernel.size
        multiplication = multiply_adds / rates.multiply_adds_per_second
        factored = 2 * rates.latency + gathered / rates.gathered_per_second + multiplication
        factors_are_faster = kernel.size >= SMALL_KERNEL and factored < _MAX_TIME_RATIO * allreduce
        choices.append(
            KernelChoice(
                kernel=kernel,
                allreduce_bytes=summed,
                factored_bytes=gathered,
                allreduce_seconds=allreduce,
                factored_seconds=factored,
                factored=exchange == "factored" or (exchange == "auto" and factors_are_faster),
            )
        )
    return choices


def bucket_bytes(sent_per_second: float) -> int:
    """The target bytes per message on a link of this rate: a power of two."""
    target = max(1, sent_per_second * _MESSAGE_SECONDS)
    return max(_SMALLEST_BUCKET, min(LARGEST_BUCKET, 1 << round(math.log2(target))))


def choice_table(choices: Sequence[KernelChoice], rates: Rates) -> str:
    """Formats the choices as a table."""
    mebibytes = bucket_bytes(rates.sent_per_second) / 2**20
    lines = [
        f"exchange: {rates.sent_per_second / 1e6:,.0f} MB/s in messages of {mebibytes:g} MiB, "
        f"latency {1e3 * rates.latency:.1f} ms, {2 * rates.multiply_adds_per_second / 1e9:,.0f} GFLOP/s",
        f"{'kernel':<24} {'allreduce':>20} {'factored':>20}  choice",
    ]
    for choice in choices:
        allreduce = f"{choice.allreduce_bytes / 1e6:,.1f} MB {1e3 * choice.allreduce_seconds:8,.1f} ms"
        factored = f"{choice.factored_bytes / 1e6:,.1f} MB {1e3 * choice.factored_seconds:8,.1f} ms"
        chosen = "factored" if choice.factored else "allreduce"
        lines.append(f"{choice.kernel.path:<24} {allreduce:>20} {factored:>20}  {chosen}")
    return "\n".join(lines)
