"""Training with frozen layers."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnn.cluster.exchange.exchange import make_exchange
from cnn.cluster.ranks.collectives import Cluster
from cnn.data.order import SampleOrder
from cnn.errors import UserError
from cnn.learner.exchange_selection import dense_kernels
from cnn.learner.state import read_state, state_variables
from cnn.learner.step import TrainingStep
from cnn.models.blocks import classifier, convolution
from cnn.models.registry import looks_at_groups
from cnn.models.stock import stock_network
from cnn.optim.averaging import make_average
from cnn.optim.frozen_layers import freeze_layers, statistics_of
from cnn.optim.optimizers import OptimizerSettings, build_optimizer
from cnn.optim.regularisation import RegularisationSettings

ORDER = SampleOrder(np.arange(250), 80, seed=3, group_size=80)


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    images = keras.Input((12, 12, 1))
    x = convolution(images, 4, 3, stride=2, normalised=True, name="conv1")
    x = convolution(x, 4, 3, stride=2, normalised=True, name="conv2")
    model = keras.Model(images, classifier(x, 4, 0.0, units=(8,)), name="small")
    random = np.random.default_rng(7)
    for variable in statistics_of(model):  # as after some training
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.fixture
def make_step(cluster: Cluster, make_feed: Callable[..., Any]) -> Callable[..., TrainingStep]:
    def make(patterns: str, *, factored: bool = False) -> TrainingStep:
        model = network()
        freeze_layers(model, patterns)
        regularisation = RegularisationSettings(l2=0.01, clip_norm=0.5, average_decay=0.9)
        optimizer = build_optimizer(OptimizerSettings(), regularisation, model.trainable_variables)
        paths = frozenset(kernel.path for kernel in dense_kernels(model)) if factored else frozenset()
        average = make_average(model, regularisation)
        exchange = make_exchange(cluster, paths)
        step = TrainingStep(model, optimizer, make_feed(), exchange, regularisation, group_size=80, average=average)
        step.model, step.variables = model, state_variables(model, optimizer, average)  # type: ignore[attr-defined]
        return step

    return make


@pytest.mark.parametrize("factored", [False, True])
def test_frozen_layers_stay_and_have_no_slots(make_step: Callable[..., Any], factored: bool) -> None:
    step = make_step("conv1, fc6", factored=factored)
    before = {name: values.copy() for name, values in read_state(step.variables).items()}
    step.run(ORDER.plan(0, 5, 0, 1), np.full(5, 0.01))
    changed = {name for name, after in read_state(step.variables).items() if not np.array_equal(before[name], after)}
    learning = [
        *(f"conv2_bn/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")),
        "conv2/kernel",
        "logits/kernel",
        "logits/bias",
    ]
    assert {name for name in changed if not name.startswith("optimizer/")} == {
        f"{kind}/{path}" for kind in ("model", "average") for path in learning
    }
    slots = {name for name in step.variables if "momentum" in name}
    assert len(slots) == 5
    assert not any("conv1" in name or "fc6" in name for name in slots)


def test_a_frozen_normalisation_computes_as_in_evaluation(make_step: Callable[..., Any]) -> None:
    """The gradients are those of Keras's own layers, whose moving statistics are used when they are not trainable."""
    step, plan = make_step("conv1"), ORDER.plan(0, 1, 0, 1)
    stock = stock_network(step.model)
    for name in ("conv1", "conv1_bn"):
        stock.get_layer(name).trainable = False
    images, labels = step._feed.read(plan.indices)
    with tf.GradientTape() as tape:
        logits = stock(step._feed.batch(images[0]), training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels[0], logits))
    variables = [variable.value for variable in stock.trainable_variables]
    expected = [
        gradient + 0.01 * each if variable.name == "kernel" else gradient
        for gradient, each, variable in zip(
            tape.gradient(loss, variables), variables, stock.trainable_variables, strict=True
        )
    ]
    got = step.gradients(plan)
    assert len(got) == 7
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-5)


def test_groups_are_needed_only_by_layers_that_learn() -> None:
    model = network()
    freeze_layers(model, "conv1")
    assert looks_at_groups(model)
    freeze_layers(model, "conv[12]")
    assert not looks_at_groups(model)


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        ("conv1,cnov2", r"--freeze cnov2 fits no layer of small with weights; did you mean conv2\?"),
        ("stage*", "--freeze stage.* fits no layer of small with weights: jobs/summarize.py lists its layers."),
        ("", "--freeze  fits no layer"),
        ("*", r"--freeze \* freezes all layers of small: leave out"),
    ],
)
def test_patterns_that_fit_no_layer_or_all(patterns: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        freeze_layers(network(), patterns)
