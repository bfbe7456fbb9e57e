"""What goes into a training step, between its parts, and out of it."""

from typing import NamedTuple

from cnn.learner.step_message import Reports
from cnn.learner.totals import Total
from cnn.tensor import Tensor


class Diagnostics(NamedTuple):
    """What tells where a step went wrong, each an array (steps,)."""

    skipped: Tensor
    """Whether the step was left out, for its gradients were too large for float16 under the loss's scale."""

    local_seconds: Tensor
    """What this rank took to compute the loss, for which it waits for nobody."""

    local_losses: Tensor
    """The loss summed over this rank's samples."""


class StepResults(NamedTuple):
    """What some steps gave: all but the rank's own diagnostics is the same on every rank."""

    totals: dict[str, Total]
    """The metrics of each step, over the global batch: sums are (steps, cells). The network is that before the update,
    with dropout. The loss includes auxiliary classifiers' shares, but not the regularisation's part."""

    reports: Reports
    diagnostics: Diagnostics


class Row(NamedTuple):
    """Tensors of a plan, on the device: of all its steps, or of one."""

    images: Tensor
    """What the feed read of them."""

    labels: Tensor
    keys: Tensor
    weights: Tensor
    counts: Tensor


class RankSums(NamedTuple):
    """What one rank computes of a step, or of a piece of it."""

    gradients: list[Tensor]
    """What the samples add to those of the global batch's mean loss, times the loss's scale if there is one: of the
    variables that the exchange sums, in their order."""

    statistics: list[Tensor]
    """For each moving statistic of the network, what the samples' groups add to its next value."""

    sums: dict[str, Tensor]
    """The metrics' parts of the message, summed over the samples."""

    factors: list[tuple[Tensor, Tensor]]
    """Of the other variables, kernels (m, n): inputs (samples, m), gradients by outputs (samples, n)."""


class Gradients(NamedTuple):
    """What one step's exchange gave, on every rank."""

    gradients: list[Tensor]
    """Of the mean loss of the global batch and its regularisation, for each trainable variable."""

    message: Tensor
    """Summed over the ranks."""

    statistics: list[Tensor]
    """The next value of each moving statistic of the network."""
