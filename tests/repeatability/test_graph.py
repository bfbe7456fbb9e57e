"""No sum in a step as TensorFlow runs it is added up in an order that timing decides."""

from typing import Any

import pytest
import tensorflow as tf

from cnn.learner.precision import use_precision
from cnn.optim.optimizers import OPTIMIZERS

from ..noise import one_worker
from .smallest import SmallestStep, sums_by_timing

SETTINGS: list[tuple[object, ...]] = [
    *(("--optimizer", optimizer) for optimizer in OPTIMIZERS),
    ("--precision", "mixed_float16"),
    ("--micro_batch_size", 8),
    ("--xla",),
]


@pytest.fixture(autouse=True)
def _precision_of_others() -> Any:
    yield
    use_precision("float32")


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_with_any_setting(settings: tuple[object, ...]) -> None:
    step = SmallestStep("lenet5-like", one_worker(), *settings)
    assert sums_by_timing(lambda: step.run(2)) == []


@pytest.mark.parametrize("network", ["resnet18-32", "googlenet"])
def test_with_tensors_of_many_users(network: str) -> None:
    """test_same_bits.py looks at every network in every precision."""
    step = SmallestStep(network, one_worker())
    assert sums_by_timing(lambda: step.run(2)) == []


def test_they_are_seen() -> None:
    """Three ways in which they come."""
    use_precision("float32")
    values = [tf.random.stateless_uniform((300, 300), (n, 0)) for n in range(4)]

    def many() -> Any:
        one, two, three, four = (tf.sin(each) for each in values)
        with tf.GradientTape() as tape:
            tape.watch(one)
            users = tf.reduce_sum(one * two) + tf.reduce_sum(one * three) + tf.reduce_sum(tf.exp(one))
        padding = [tf.cos(each + n) for n in range(40) for each in values]
        return tape.gradient(users, one), tf.add_n([one, two, three, four]), padding

    found = sums_by_timing(tf.function(many, autograph=False))
    assert len([each for each in found if each.startswith("AddN")]) == 2
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": True})

    def chain() -> Any:
        one, two, three, four = (tf.sin(each) for each in values)
        return one + two + three + four, [tf.cos(each + n) for n in range(40) for each in values]

    assert len(sums_by_timing(tf.function(chain, autograph=False))) == 1
