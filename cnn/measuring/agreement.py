"""Comparison of the measurements of `proof.measure`: whether N workers compute the same as one.

In float64 the order of summation hardly matters: after some steps the weights of N workers must equal those of one to
1e-9 of the change by training. In float32 the first step's gradients must agree to 1e-5; later weights drift apart as
much as those of one process with another order of summation (ReLU and max-pool ties fork), measured for comparison.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

WEIGHTS_LIMIT, GRADIENT_LIMIT, LEARNED_LIMIT = 1e-9, 1e-5, 1e-2

Measured = Mapping[str, np.ndarray]
"""Arrays by RUN/STATE/VARIABLE; runs: float64, float32, reordered; states: initial, final and, of float32, gradient."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """Comparison of `workers` workers with one worker."""

    model: str
    workers: int
    weights: float
    """float64: distance of the final weights, moving statistics and averages, relative to their change by training;
    maximum over the variables. Infinite if a frozen one differs at all."""

    learned: float
    """float64: change of the trainable weights by training, relative to the initial weights."""

    gradient: float
    """float32: distance of the first step's gradients, relative to their norm."""

    drift: float
    """float32: same as `weights`."""

    reordered_drift: float
    """float32: same as `weights`, for one worker with another order of summation."""

    @property
    def verdict(self) -> str:
        """holds, BROKEN if weights or gradients differ, or the reason why nothing is proven."""
        if not np.isfinite(self.learned):
            return "diverged: set a lower --learning_rate"
        if not (self.weights <= WEIGHTS_LIMIT and self.gradient <= GRADIENT_LIMIT):
            return "BROKEN"
        if self.learned < LEARNED_LIMIT:
            return "learned too little for a verdict: set more --proof_steps or a higher --learning_rate"
        return "holds"

    @property
    def holds(self) -> bool:
        return self.verdict == "holds"


def compare(model: str, workers: int, measured: Measured, reference: Measured) -> Row:
    """Compares the measurements of several workers with the reference, those of one worker."""

    def variables_under(prefix: str) -> list[str]:
        return [name.removeprefix(prefix) for name in reference if name.startswith(prefix)]

    variables, trainable = variables_under("float64/initial/"), variables_under("float32/gradient/")

    def change(run: str, variable: str) -> np.ndarray:
        return np.asarray(reference[f"{run}/final/{variable}"] - reference[f"{run}/initial/{variable}"])

    def flatten(values: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate([each.ravel() for each in values])

    def distance(arrays: Measured, run: str, reference_run: str) -> float:
        differences = [
            _ratio(
                _norm(arrays[f"{run}/final/{variable}"] - reference[f"{reference_run}/final/{variable}"]),
                _norm(change(reference_run, variable)),
            )
            for variable in variables
        ]
        return float(np.max(differences))  # NaN if one is, unlike the built-in

    def gradient(arrays: Measured) -> np.ndarray:
        return flatten(arrays[f"float32/gradient/{variable}"] for variable in trainable)

    initial = flatten(reference[f"float64/initial/{variable}"] for variable in trainable)
    return Row(
        model=model,
        workers=workers,
        weights=distance(measured, "float64", "float64"),
        learned=_norm(flatten(change("float64", variable) for variable in trainable)) / _norm(initial),
        gradient=_norm(gradient(measured) - gradient(reference)) / _norm(gradient(reference)),
        drift=distance(measured, "float32", "float32"),
        reordered_drift=distance(reference, "reordered", "float32"),
    )


def _ratio(difference: float, change: float) -> float:
    """The difference relative to the change; of what has not changed, as in frozen layers, 0 or infinity."""
    if change == 0:
        return 0.0 if difference == 0 else math.inf
    return difference / change


def _norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values))


def table(rows: Sequence[Row]) -> str:
    """Formats the comparison, a line for each network and number of workers."""
    lines = [
        "                        float64                        float32",
        "network        workers  weights differ   learned       gradient differs  drift      drift of one, reordered",
    ]
    for row in rows:
        lines.append(
            f"{row.model:<14} {row.workers:>7}  {row.weights:<16.1e} {row.learned:<13.1e} {row.gradient:<17.1e} "
            f"{row.drift:<10.1e} {row.reordered_drift:<10.1e} {row.verdict}"
        )
    lines.append(f"limits                  <= {WEIGHTS_LIMIT:<13.0e} >= {LEARNED_LIMIT:<10.0e} <= {GRADIENT_LIMIT:.0e}")
    return "\n".join(lines)
