"""What the settings of regularisation make of steps, by hand."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnn.cluster.exchange.exchange import LocalExchange
from cnn.cluster.ranks.collectives import Cluster
from cnn.data.dataset import Part
from cnn.data.order import SampleOrder
from cnn.errors import UserError
from cnn.learner.evaluation import Evaluator
from cnn.learner.step import TrainingStep
from cnn.optim.averaging import WeightAverage, make_average
from cnn.optim.optimizers import OptimizerSettings, build_optimizer
from cnn.optim.regularisation import RegularisationSettings

ORDER = SampleOrder(np.arange(250), 80, seed=3)


class Trained:
    """The one-layer network and what trains it."""

    def __init__(self, make_network, make_feed, optimizer: str, settings: dict[str, Any]) -> None:
        regularisation = RegularisationSettings(**settings)
        self.model: keras.Model = make_network("fcnn")
        self.kernel, self.bias = self.model.trainable_variables
        self.bias.assign([0.1, -0.2, 0.3, 0.4])
        self.average: WeightAverage | None = make_average(self.model, regularisation)
        built = build_optimizer(OptimizerSettings(optimizer=optimizer), regularisation, [self.kernel, self.bias])
        self.step = TrainingStep(self.model, built, make_feed(), LocalExchange(), regularisation, average=self.average)

    def weights(self) -> list[np.ndarray]:
        return [np.array(value) for value in self.model.get_weights()]  # which may be views of what steps change


@pytest.fixture
def make(make_network, make_feed, float64: str) -> Callable[..., Trained]:
    return lambda optimizer="sgd", **settings: Trained(make_network, make_feed, optimizer, settings)


def test_decoupled_decay_takes_its_part_of_kernels_alone(make) -> None:
    plan, rate = ORDER.plan(0, 1, 0, 1), np.array([0.1])
    plain, decayed = make("adam"), make("adam", weight_decay=0.5)
    kernel = plain.kernel.numpy()
    for each in (plain, decayed):
        each.step.run(plan, rate)
    np.testing.assert_allclose(decayed.weights()[0], plain.weights()[0] - 0.1 * 0.5 * kernel, rtol=1e-12)
    np.testing.assert_array_equal(decayed.weights()[1], plain.weights()[1])


def test_adamw_decays_unless_told_otherwise(make) -> None:
    plan, rate = ORDER.plan(0, 3, 0, 1), np.full(3, 0.1)
    trained = [make("adam"), make("adamw", weight_decay=0.0), make("adamw"), make("adam", weight_decay=0.01)]
    for each in trained:
        each.step.run(plan, rate)
    adam, without, adamw, by_hand = (each.weights()[0] for each in trained)
    np.testing.assert_array_equal(adam, without)
    np.testing.assert_array_equal(adamw, by_hand)
    assert not np.array_equal(adam, adamw)


@pytest.mark.parametrize("part_of_length", [0.25, 4.0])
def test_gradients_longer_than_the_limit_are_scaled_down_together(make, part_of_length: float) -> None:
    plan = ORDER.plan(0, 1, 0, 1)
    gradients = make().step.gradients(plan)
    length = np.sqrt(sum(np.square(gradient).sum() for gradient in gradients))
    clipped = make(clip_norm=part_of_length * length)
    before = clipped.weights()
    clipped.step.run(plan, np.array([0.1]))
    for old, new, gradient in zip(before, clipped.weights(), gradients, strict=True):
        np.testing.assert_allclose(old - new, 0.1 * min(1, part_of_length) * gradient, rtol=1e-9, atol=1e-13)


def test_lars_steps_are_a_part_of_the_kernel_s_length(make) -> None:
    plan = ORDER.plan(0, 1, 0, 1)
    decay, rate, trust = 0.03, 2.0, 1e-3
    trained = make("lars", weight_decay=decay)
    kernel, bias = trained.weights()
    slope, bias_slope = trained.step.gradients(plan)
    trained.step.run(plan, np.array([rate]))
    norm = np.linalg.norm
    scale = trust * norm(kernel) / (norm(slope) + decay * norm(kernel))
    np.testing.assert_allclose(trained.weights()[0], kernel - rate * scale * (slope + decay * kernel), rtol=1e-10)
    np.testing.assert_allclose(trained.weights()[1], bias - rate * bias_slope, rtol=1e-10)


def test_lars_takes_plain_steps_where_a_kernel_is_zero(make) -> None:
    plan = ORDER.plan(0, 1, 0, 1)
    trained = make("lars")
    trained.kernel.assign(np.zeros(trained.kernel.shape))
    slope = trained.step.gradients(plan)[0]
    trained.step.run(plan, np.array([0.5]))
    np.testing.assert_allclose(trained.weights()[0], -0.5 * slope, rtol=1e-10)


def test_smoothed_labels_are_keras_s(make, part: Part) -> None:
    trained = make(label_smoothing=0.2)
    _, start, stop = ORDER.bounds(0)
    samples = ORDER.epoch_indices(0)[start:stop]
    with tf.GradientTape() as tape:
        logits = trained.model((part.images[samples] / 255 - 0.5) / 0.25)
        labels = keras.ops.one_hot(part.labels[samples], 4, dtype="float64")
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)(labels, logits)
    expected = tape.gradient(loss, [variable.value for variable in (trained.kernel, trained.bias)])
    for gradient, right in zip(trained.step.gradients(ORDER.plan(0, 1, 0, 1)), expected, strict=True):
        np.testing.assert_allclose(gradient, right, rtol=1e-9, atol=1e-12)


def test_the_average_follows_the_weights(make) -> None:
    trained, single = make(average_decay=0.3), make()
    expected = single.weights()
    for step in range(5):
        single.step.run(ORDER.plan(step, 1, 0, 1), np.array([0.1]))
        decay = min(0.3, (1 + step + 1) / (10 + step + 1))
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, single.weights(), strict=True)]
    trained.step.run(ORDER.plan(0, 5, 0, 1), np.full(5, 0.1))
    for value, right in zip(trained.average.variables.values(), expected, strict=True):
        np.testing.assert_allclose(value.numpy(), right, rtol=1e-12)
    for value, right in zip(trained.weights(), single.weights(), strict=True):
        np.testing.assert_array_equal(value, right)


def test_the_average_is_what_is_evaluated(make, make_feed, cluster: Cluster, part: Part) -> None:
    trained = make(average_decay=0.9)
    evaluate = Evaluator(trained.model, make_feed(), np.arange(250), cluster, average=trained.average)
    before = trained.weights()
    trained.average.variables["average/logits/bias"].assign([0, 0, 1000, 0])
    assert evaluate().totals["accuracy"].sums.tolist() == [int((part.labels == 2).sum())]
    for value, right in zip(trained.weights(), before, strict=True):
        assert value.tobytes() == right.tobytes()
    trained.average.keep()
    assert trained.bias.numpy().tolist() == [0, 0, 1000, 0]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"l2": -1e-9}, "--l2 -1e-09"),
        ({"l2": float("inf")}, "--l2 inf"),
        ({"weight_decay": -1.0}, "--weight_decay -1.0"),
        ({"label_smoothing": 1.0}, "--label_smoothing 1.0"),
        ({"average_decay": -0.1}, "--average_decay -0.1"),
        ({"average_decay": float("nan")}, "--average_decay nan"),
        ({"clip_norm": 0.0}, "--clip_norm 0.0"),
        ({"clip_norm": float("inf")}, "--clip_norm inf"),
    ],
)
def test_impossible_settings(wrong: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        RegularisationSettings(**wrong)
