"""The inputs, intermediate values and results of a training step."""

from typing import NamedTuple

from cnn.learner.step_message import Reports
from cnn.learner.totals import Total
from cnn.tensor import Tensor


class Diagnostics(NamedTuple):
    """Values that help to find out what went wrong in a step, each an array (steps,)."""

    skipped: Tensor
    """Whether the step was skipped because its gradients, multiplied by the loss scale, overflowed float16."""

    loss_seconds: Tensor
    """Seconds that this rank took to compute the loss, which involves no waiting for other ranks; 0 if not timed."""

    computing_seconds: Tensor
    """Seconds until this rank had computed its gradients, the loss included; 0 if not timed."""

    exchange_seconds: Tensor
    """Seconds from then until the exchange had ended: the part of it that computing does not hide; 0 if not timed."""

    local_losses: Tensor
    """The loss summed over this rank's samples."""


class StepResults(NamedTuple):
    """The results of some steps; only the diagnostics differ between ranks."""

    totals: dict[str, Total]
    """The metrics of each step over the global batch, with sums (steps, cells), for the network before the update, with
    dropout. The loss includes the weighted losses of auxiliary classifiers, but no regularisation term."""

    reports: Reports
    diagnostics: Diagnostics

    gradient_norms: dict[str, float]
    """The norms of the last step's exchanged gradients before clipping, by variable; empty unless asked for."""


class Row(NamedTuple):
    """A plan's tensors on the device, for all its steps or for one.

    Integers are int64: TensorFlow keeps tensors of int32 in the host's memory even for a GPU's operations.
    """

    images: Tensor
    """As returned by `Feed.read`."""

    labels: Tensor
    keys: Tensor
    weights: Tensor
    counts: Tensor


class RankSums(NamedTuple):
    """One rank's results for a step, or for a piece of it."""

    gradients: list[Tensor]
    """The samples' contributions to the gradients of the global batch's mean loss, times any loss scale, for the
    variables whose gradients the exchange sums, in the order of the variables."""

    statistics: list[Tensor]
    """The contribution of the samples' groups to the next value of each moving statistic of the network."""

    sums: dict[str, Tensor]
    """Each metric's part of the message, summed over the samples."""

    factors: list[tuple[Tensor, Tensor]]
    """For each of the other variables, a kernel (m, n): inputs (samples, m), gradients of the outputs (samples, n)."""


class Gradients(NamedTuple):
    """The result of one step's exchange, the same on every rank."""

    gradients: list[Tensor]
    """The gradients of the global batch's mean loss plus the L2 term, for each trainable variable."""

    message: Tensor
    """The metrics' sums and the reports, summed over the ranks."""

    statistics: list[Tensor]
    """The next value of each moving statistic of the network."""
