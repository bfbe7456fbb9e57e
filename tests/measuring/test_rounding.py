"""The verdict on gradients in short types."""

import numpy as np
import pytest

from cnn.measuring.rounding import rounding, rounding_table

EXACT = {"a/kernel": np.full(4, 2.0), "a/bias": np.full(4, 1.0), "b_bn/gamma": np.full(4, 1.0)}


@pytest.mark.parametrize(
    ("kernel", "bias", "gamma", "verdict"),
    [
        (0.01, 0.02, 0.0, "holds"),
        (0.01, 0.04, 0.0, "BROKEN"),
        (0.01, 0.01, 9.0, "holds"),  # a gradient that is nearly zero says nothing
        (0.0, 0.0, 0.0, "holds"),
        (np.inf, 0.01, 0.0, "overflows"),
        (0.01, np.nan, 0.0, "overflows"),
    ],
)
def test_a_bias_may_not_be_much_less_exact_than_its_kernel(
    kernel: float, bias: float, gamma: float, verdict: str
) -> None:
    off = {"a/kernel": kernel, "a/bias": bias, "b_bn/gamma": gamma}
    gradients = {path: values * (1 + off[path]) for path, values in EXACT.items()}
    row = rounding("fcnn", "mixed_bfloat16", gradients, EXACT)
    assert row.verdict.startswith(verdict)
    assert row.holds == (verdict != "BROKEN")
    assert f" {verdict}" in rounding_table([row]).splitlines()[2]


def test_the_worst_variable_is_named() -> None:
    gradients = {**EXACT, "a/kernel": EXACT["a/kernel"] * 1.25}
    row = rounding("fcnn", "float32", gradients, EXACT)
    assert (row.variable, row.error) == ("a/kernel", 0.25)
