"""Shows that N workers compute what one computes: the comparison of what `proof.measure` wrote.

In float64 the order of sums hardly matters: after some steps the weights of N workers must be those of one to 1e-9 of
what training changed. In float32 the first step's gradient must agree to 1e-5; later weights drift apart as those of
one process do when it adds in another order (ReLU and max-pool ties fork), which is measured beside it.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

WEIGHTS_LIMIT, GRADIENT_LIMIT, LEARNED_LIMIT = 1e-9, 1e-5, 1e-2

Measured = Mapping[str, np.ndarray]
"""Arrays by RUN/WHAT/VARIABLE: runs float64, float32, reordered; of each initial, final, gradient."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """How one number of workers compares with one worker."""

    model: str
    workers: int
    weights: float
    """float64: distance of the final weights, moving statistics and averages, relative to what training changed; of the
    worst variable."""

    learned: float
    """float64: what training changed, relative to the initial weights, over all of these."""

    gradient: float
    """float32: distance of the first step's gradients, relative to their length."""

    drift: float
    """float32: as `weights`."""

    reordered_drift: float
    """float32: as `weights`, of one worker that adds in another order."""

    @property
    def verdict(self) -> str:
        """holds, or why it does not: BROKEN where the weights differ."""
        if not np.isfinite(self.learned):
            return "diverged: give a lower --learning_rate"
        if not (self.weights <= WEIGHTS_LIMIT and self.gradient <= GRADIENT_LIMIT):
            return "BROKEN"
        if self.learned < LEARNED_LIMIT:
            return "learned too little to tell: give more --proof_steps or a higher --learning_rate"
        return "holds"

    @property
    def holds(self) -> bool:
        return self.verdict == "holds"


def compare(model: str, workers: int, several: Measured, one: Measured) -> Row:
    """Compares the measurements of several workers with those of one."""

    def named(prefix: str) -> list[str]:
        return [name.removeprefix(prefix) for name in one if name.startswith(prefix)]

    variables, trainable = named("float64/initial/"), named("float64/gradient/")

    def changed(run: str, variable: str) -> np.ndarray:
        return np.asarray(one[f"{run}/final/{variable}"] - one[f"{run}/initial/{variable}"])

    def joined(values: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate([each.ravel() for each in values])

    def distance(of: Measured, run: str, other: str) -> float:
        return max(
            _length(of[f"{run}/final/{variable}"] - one[f"{other}/final/{variable}"])
            / _length(changed(other, variable))
            for variable in variables
        )

    def gradient(of: Measured) -> np.ndarray:
        return joined(of[f"float32/gradient/{variable}"] for variable in trainable)

    initial = joined(one[f"float64/initial/{variable}"] for variable in trainable)
    return Row(
        model=model,
        workers=workers,
        weights=distance(several, "float64", "float64"),
        learned=_length(joined(changed("float64", variable) for variable in trainable)) / _length(initial),
        gradient=_length(gradient(several) - gradient(one)) / _length(gradient(one)),
        drift=distance(several, "float32", "float32"),
        reordered_drift=distance(one, "reordered", "float32"),
    )


def _length(values: np.ndarray) -> float:
    return float(np.linalg.norm(values))


def table(rows: Sequence[Row]) -> str:
    """The comparison as text, a line for each network and number of workers."""
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
