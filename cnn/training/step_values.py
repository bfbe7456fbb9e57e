"""What goes into a training step, between its parts, and out of it."""

from typing import Any, NamedTuple

import numpy as np


class StepResults(NamedTuple):
    """What some steps gave, each an array (steps,): over the whole global batch, the same on every rank."""

    losses: np.ndarray
    """Mean cross-entropy, auxiliary classifiers' shares included, without the regularisation's part."""

    correct: np.ndarray
    """How many samples the network, before the update and with dropout, had right."""

    seconds: np.ndarray
    """What the ranks said in `said_seconds`, added up."""

    stops: np.ndarray
    """How many ranks said that they were asked to stop."""

    changes: np.ndarray
    """How many ranks said that the workers are to change."""

    skipped: np.ndarray
    """Whether the step was left out, for its gradients were too large for float16 under the loss's scale."""

    own_seconds: np.ndarray
    """What this rank took to compute the loss, for which it waits for nobody."""

    own_losses: np.ndarray
    """The loss summed over this rank's samples."""


class Row(NamedTuple):
    """Tensors of a plan, on the device: of all its steps, or of one."""

    images: Any
    """What the feed read of them."""

    labels: Any
    keys: Any
    weights: Any
    counts: Any


class RankSums(NamedTuple):
    """What one rank computes of a step, or of a piece of it."""

    gradients: list[Any]
    """What the samples add to those of the global batch's mean loss, times the loss's scale if there is one: of the
    variables that the exchange sums, in their order."""

    statistics: list[Any]
    """For each moving statistic of the network, what the samples' groups add to its next value."""

    results: Any
    """[loss, correct] summed over the samples."""

    factors: list[tuple[Any, Any]]
    """Of the other variables, kernels (m, n): inputs (samples, m), gradients by outputs (samples, n)."""


class Gradients(NamedTuple):
    """What one step's exchange gave, on every rank."""

    gradients: list[Any]
    """Of the mean loss of the global batch and its regularisation, for each trainable variable."""

    sums: Any
    """[loss, correct, ...] summed over the samples."""

    statistics: list[Any]
    """The next value of each moving statistic of the network."""
