"""A learning rate of its own for the classification layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnn.errors import UserError
from cnn.optim.optimizers import OPTIMIZERS, OptimizerSettings, build_optimizer
from cnn.optim.regularisation import RegularisationSettings


def changes(optimizer: str, rate: float, head_rate: float | None) -> dict[str, np.ndarray]:
    """What two steps change in the variables of two layers."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, name="fc1"), keras.layers.Dense(2, name="logits")]
    )
    settings = OptimizerSettings(optimizer=optimizer, learning_rate=rate, head_learning_rate=head_rate)
    built = build_optimizer(settings, RegularisationSettings(weight_decay=0), model.trainable_variables)
    before = [variable.numpy().copy() for variable in model.trainable_variables]
    random = np.random.default_rng(2)
    for _ in range(2):
        gradients = [tf.constant(random.uniform(0.5, 1.5, each.shape), tf.float32) for each in before]
        built.apply(gradients, model.trainable_variables)
    return {
        variable.path.partition("/")[2] if "sequential" in variable.path else variable.path: variable.numpy() - earlier
        for variable, earlier in zip(model.trainable_variables, before, strict=True)
    }


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_only_the_head_has_the_other_rate(optimizer: str) -> None:
    both, base, head = (changes(optimizer, *rates) for rates in ((1e-3, 5e-3), (1e-3, None), (5e-3, None)))
    for path, change in both.items():
        np.testing.assert_allclose(change, (head if "logits" in path else base)[path], rtol=1e-4, atol=1e-7)
        assert np.abs(change).max() > 1e-6


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), 1e-45])
def test_rates_that_are_none(rate: float) -> None:
    with pytest.raises(UserError, match="--head_learning_rate .* is not a positive number"):
        OptimizerSettings(head_learning_rate=rate)
