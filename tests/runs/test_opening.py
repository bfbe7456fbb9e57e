"""What a run says at its start."""

import numpy as np
import pytest

from cnn.data.order import SampleOrder
from cnn.runs.opening import few_steps
from cnn.settings.settings import RunSettings


@pytest.mark.parametrize(
    ("images", "settings", "advice"),
    [
        (96, {}, "warning: 96 training images make 10 steps in all, and networks need hundreds to learn: try "),
        (1, {}, "warning: 1 training image makes 10 steps"),
        (96, {"epochs": 1000}, ""),
        (96, {"steps": 10}, ""),
        (1293, {}, ""),
    ],
)
def test_a_set_that_gives_few_steps(images: int, settings: dict[str, int], advice: str) -> None:
    run = RunSettings(**settings)
    order = SampleOrder(np.arange(images), run.global_batch_size, seed=1)
    total_steps = run.steps or run.epochs * order.steps_per_epoch
    assert few_steps(order, run, total_steps).startswith(advice)
    assert bool(few_steps(order, run, total_steps)) == bool(advice)


@pytest.mark.parametrize("images", [1, 7, 40, 96, 500, 900])
def test_what_is_proposed_needs_no_advice(images: int) -> None:
    order = SampleOrder(np.arange(images), 100, seed=1)
    words = few_steps(order, RunSettings(), 10 * order.steps_per_epoch).rstrip(".").split("try ")[1].split()
    given = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    run = RunSettings(epochs=given["--epochs"], global_batch_size=given.get("--global_batch_size", 100))
    order = SampleOrder(np.arange(images), run.global_batch_size, seed=1)
    assert few_steps(order, run, run.epochs * order.steps_per_epoch) == ""
