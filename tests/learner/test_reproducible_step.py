"""A step that computes group by group is the usual step, and looks at real samples alone."""

import numpy as np
import pytest

from cnn.learner.reproducible_step import ReproducibleStep
from cnn.learner.state import read_state

from ..noise import noise_learner, one_worker
from ..repeatability.smallest import sums_by_timing

SETTINGS = ("--optimizer", "momentum", "--group_size", 4, "--l2", 1e-4, "--clip_norm", 1, "--precision", "float64")
STEPS = 5
"""Of 22 samples in 6 groups, the last of 2; an epoch's last step is of 6 samples in 2 groups."""


@pytest.mark.parametrize(
    ("network", "side", "rate", "more"),
    [
        ("lenet5-like", 16, 0.05, ()),
        ("lenet5-like", 16, 0.05, ("--exchange", "factored")),
        ("resnet18-32", 16, 1e-3, ()),  # with smaller images and higher rates, differences grow a thousandfold a step
    ],
    ids=["summed", "factored", "normalised"],
)
def test_it_computes_what_the_usual_step_computes(
    network: str, side: int, rate: float, more: tuple[object, ...]
) -> None:
    found = []
    for kind in ((), ("--reproducible",)):
        learner = noise_learner(
            one_worker(), "--model", network, *SETTINGS, *more, *kind, side=side, batch=22, images=50
        )
        step = learner.make_step(timed=True)
        assert isinstance(step, ReproducibleStep) == bool(kind)
        before = read_state(learner.variables)
        results = step.run(learner.order.plan(0, STEPS, 0, 1), np.full(STEPS, rate), with_norms=True)
        found.append((before, read_state(learner.variables), results))
    (before, usual, right), (_, grouped, results) = found
    for name, values in usual.items():
        change = np.linalg.norm(values - before[name])
        assert np.linalg.norm(grouped[name] - values) <= 1e-9 * change, name
    assert results.totals["accuracy"].sums.tolist() == right.totals["accuracy"].sums.tolist()
    np.testing.assert_allclose(results.totals["loss"].mean, right.totals["loss"].mean, rtol=1e-12)
    np.testing.assert_allclose(results.diagnostics.local_losses, right.diagnostics.local_losses, rtol=1e-12)
    assert results.gradient_norms == pytest.approx(right.gradient_norms)


@pytest.mark.parametrize("threads", [1, 3])
def test_no_sum_of_it_is_added_up_in_an_order_that_timing_decides(threads: int) -> None:
    learner = noise_learner(
        one_worker(), "--model", "lenet5-like", "--group_size", 4, "--reproducible", side=16, batch=22
    )
    step = learner.make_step()
    step._groups_at_once = threads  # type: ignore[attr-defined]
    plan = learner.order.plan(0, 2, 0, 1)
    assert sums_by_timing(lambda: step.run(plan, np.full(2, 0.01))) == []
