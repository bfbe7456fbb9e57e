"""The verdict on measurements of several workers."""

import numpy as np
import pytest

from cnn.measuring.agreement import compare, table


def measured(*, off: float = 0.0, gradient_off: float = 0.0, learned: float = 0.1) -> dict[str, np.ndarray]:
    """Of a network of one variable whose length is 10; `off` is relative to what training changed."""
    initial = np.full(100, 1.0)
    final = initial + learned
    found = {"float32/gradient/w": initial + gradient_off}
    for run in ("float64", "float32", "reordered"):
        found |= {f"{run}/initial/w": initial, f"{run}/final/w": final + off * learned}
    return found


@pytest.mark.parametrize(
    ("several", "learned", "verdict"),
    [
        ({}, 0.1, "holds"),
        ({"off": 1e-10, "gradient_off": 1e-6}, 0.1, "holds"),
        ({"off": 1e-8}, 0.1, "BROKEN"),
        ({"gradient_off": 1e-4}, 0.1, "BROKEN"),
        ({"off": 1e-8}, 0.001, "BROKEN"),
        ({}, 0.001, "learned too little for a verdict"),
        ({}, np.nan, "diverged"),
        ({"off": np.nan}, 0.1, "BROKEN"),
    ],
)
def test_verdicts(several: dict[str, float], learned: float, verdict: str) -> None:
    row = compare("fcnn", 2, measured(**several, learned=learned), measured(learned=learned))
    assert row.verdict.startswith(verdict)
    assert row.holds == (verdict == "holds")
    assert f" {verdict}" in table([row]).splitlines()[2]


@pytest.mark.parametrize(("off", "verdict"), [(0.0, "holds"), (1e-12, "BROKEN"), (np.nan, "BROKEN")])
def test_what_is_frozen_must_be_equal(off: float, verdict: str) -> None:
    """It has no change that a difference could be small beside."""

    def with_frozen(off: float) -> dict[str, np.ndarray]:
        found = measured()
        for run in ("float64", "float32", "reordered"):
            found |= {f"{run}/initial/frozen": np.ones(3), f"{run}/final/frozen": np.ones(3) + off}
        return found

    assert compare("fcnn", 2, with_frozen(off), with_frozen(0.0)).verdict == verdict


def test_a_second_variable_that_is_no_number_is_not_overlooked() -> None:
    def with_second(final: float) -> dict[str, np.ndarray]:
        found = measured()
        for run in ("float64", "float32", "reordered"):
            found |= {f"{run}/initial/second": np.ones(3), f"{run}/final/second": np.full(3, final)}
        return found

    assert compare("fcnn", 2, with_second(np.nan), with_second(2.0)).verdict == "BROKEN"
    assert compare("fcnn", 2, with_second(2.0), with_second(2.0)).verdict == "holds"
