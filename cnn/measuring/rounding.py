"""What shorter numbers cost: each variable's first gradient in a precision against the same in float64.

The gradient of a layer's bias is a plain sum of what its kernel's gradient is a sum of products of. So it must not be
much less accurate, which it is if a short type is summed in itself: in bfloat16, 256 + 1 is 256.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

BIAS_LIMIT = 3.0
"""Largest error of a bias's gradient relative to the error of the same layer's kernel's. Measured: at most 1.8; 5 to
10 where TensorFlow sums the bias's gradient in bfloat16 itself."""

Gradients = Mapping[str, np.ndarray]
"""By the variable's path."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rounding:
    """How exact a network's first gradients are in one precision."""

    model: str
    precision: str
    variable: str
    """The variable whose gradient differs most."""

    error: float
    """By how much, relative to the gradient in float64."""

    bias: float
    """Largest error of a bias's gradient relative to its kernel's; 0 without biases."""

    @property
    def holds(self) -> bool:
        """Whether no bias's gradient is out of proportion; numbers too large for the type say nothing of it."""
        return not np.isfinite(self.error) or self.bias <= BIAS_LIMIT

    @property
    def verdict(self) -> str:
        """holds, BROKEN, or that the numbers are too large for the type."""
        if not np.isfinite(self.error):
            return "overflows: training would skip this step"
        return "holds" if self.holds else "BROKEN"


def rounding(model: str, precision: str, gradients: Gradients, exact: Gradients) -> Rounding:
    """Compares the gradients of the same weights and samples, computed in a precision and in float64."""
    errors = {path: _relative(gradients[path], exact[path]) for path in exact}
    worst = max(errors, key=lambda path: (np.isnan(errors[path]), errors[path]))
    ratios = [
        errors[path] / errors[kernel]
        for path in errors
        if path.endswith("/bias") and errors.get(kernel := f"{path.removesuffix('bias')}kernel", 0) > 0
    ]
    return Rounding(
        model=model, precision=precision, variable=worst, error=errors[worst], bias=float(np.max(ratios, initial=0.0))
    )


def _relative(values: np.ndarray, exact: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):  # overflows, which are reported
        distance = np.linalg.norm(values.astype(np.float64) - exact)
    return float(distance / max(float(np.linalg.norm(exact)), np.finfo(np.float64).tiny))


def rounding_table(rows: Sequence[Rounding]) -> str:
    """Formats the comparison, a line for each network and precision."""
    lines = [
        "first gradients of one worker against those in float64",
        "network        precision       differ at most                        bias / kernel",
    ]
    for row in rows:
        worst = f"{row.error:.1e} {row.variable}"
        lines.append(f"{row.model:<14} {row.precision:<15} {worst:<37} {row.bias:<14.1f} {row.verdict}")
    lines.append(f"{'limit':<68} <= {BIAS_LIMIT:.0f}")
    return "\n".join(lines)
