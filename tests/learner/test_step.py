"""One training step against the same by Keras, and many against one at a time."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from cnn.cluster.exchange.exchange import Exchange, LocalExchange, make_exchange
from cnn.cluster.ranks.collectives import Cluster
from cnn.data.dataset import Part
from cnn.data.feed import pixels
from cnn.data.feed.augmentation import AugmentationSettings
from cnn.data.feed.feed import Feed
from cnn.data.order import Plan, SampleOrder
from cnn.learner import loss_scale
from cnn.learner.loss import balanced_weights
from cnn.learner.loss_scale import LossScale, make_loss_scale
from cnn.learner.precision import use_precision
from cnn.learner.state import read_state, state_variables
from cnn.learner.step import TrainingStep
from cnn.learner.step_message import Reports
from cnn.learner.step_results import StepResults
from cnn.optim.optimizers import OPTIMIZERS, OptimizerSettings, build_optimizer
from cnn.optim.regularisation import RegularisationSettings

ORDER = SampleOrder(np.arange(250), 80, seed=3)
"""Epochs of four steps, the last of 10 samples."""


@pytest.fixture
def make_step(cluster: Cluster, make_feed, make_network) -> Callable[..., TrainingStep]:
    def make(
        network: str = "lenet5-like",
        optimizer: str = "adam",
        l2: float = 0.0,
        clip_norm: float | None = None,
        feed: Feed | None = None,
        exchange: Exchange | None = None,
        **options: Any,
    ) -> TrainingStep:
        model = make_network(network)
        built = build_optimizer(
            OptimizerSettings(optimizer=optimizer), RegularisationSettings(), model.trainable_variables
        )
        step = TrainingStep(
            model,
            built,
            feed or make_feed(),
            exchange or make_exchange(cluster),
            RegularisationSettings(l2=l2, clip_norm=clip_norm),
            **options,
        )
        step.model, step.variables = model, state_variables(model, built)  # type: ignore[attr-defined]
        return step

    return make


def state(step: TrainingStep) -> dict[str, np.ndarray]:
    return read_state(step.variables)  # type: ignore[attr-defined]


def assert_same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert values.tobytes() == other[name].tobytes(), name


def losses(results: StepResults) -> np.ndarray:
    return results.totals["loss"].mean


def correct(results: StepResults) -> list[int]:
    counts = results.totals["accuracy"].sums
    assert counts.dtype == np.int64
    return counts[:, 0].tolist()


def numbers(results: StepResults) -> dict[str, np.ndarray]:
    """All that was computed, by name."""
    totals = {
        f"{name}/{field}": each for name, total in results.totals.items() for field, each in total._asdict().items()
    }
    return {**totals, **results.reports._asdict(), **results.diagnostics._asdict()}


def rates(steps: int) -> np.ndarray:
    return np.linspace(0.01, 0.005, steps)


def test_many_steps_in_one_call_are_the_same_bits_as_one_a_call(make_step) -> None:
    together, singly, grouped = make_step(), make_step(), make_step()
    results = together.run(ORDER.plan(0, 9, 0, 1), rates(9))
    single = [singly.run(ORDER.plan(n, 1, 0, 1), rates(9)[n : n + 1]) for n in range(9)]
    for first, last in ((0, 4), (4, 6), (6, 9)):
        grouped.run(ORDER.plan(first, last - first, 0, 1), rates(9)[first:last])
    assert_same_bits(state(together), state(singly))
    assert_same_bits(state(together), state(grouped))
    assert losses(results).tolist() == [losses(each)[0] for each in single]
    assert correct(results) == [correct(each)[0] for each in single]


def test_what_is_built_again_trains_the_same(make_step) -> None:
    first, second = make_step(), make_step()
    for step in (first, second):
        step.run(ORDER.plan(0, 5, 0, 1), rates(5))
    assert_same_bits(state(first), state(second))


def test_a_limit_beyond_all_numbers_clips_nothing(make_step) -> None:
    plain, limited = make_step("fcnn"), make_step("fcnn", clip_norm=1e308)
    for step in (plain, limited):
        step.run(ORDER.plan(0, 3, 0, 1), rates(3))
    assert_same_bits(state(plain), state(limited))


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize("rank", [0, 2])
def test_streamed_images_train_to_the_same_bits(
    make_step, make_feed, part: Part, stored: Part, monkeypatch: pytest.MonkeyPatch, rank: int, in_file: bool
) -> None:
    """The parts of two of three ranks: 20 samples and 30; of an epoch's last step none and 10."""
    monkeypatch.setattr(pixels, "STREAMED_BYTES", 2 * 30 * part.images[0].nbytes)  # two steps a call
    order = SampleOrder(np.arange(250), 80, seed=3, group_size=10)
    augmentation = AugmentationSettings(
        crop="pad", flip=True, augment="randaugment", colour_jitter=0.3, erase=0.5, mixup=0.2, cutmix=1.0
    )
    resident = make_step(feed=make_feed(augmentation=augmentation), group_size=10)
    streamed = make_step(feed=make_feed(stored if in_file else part, 0, augmentation), group_size=10)
    before = state(resident)
    results = resident.run(order.plan(1, 9, rank, 3), rates(9))
    with streamed.reading_ahead(order.coming(1, 10, rank, 3)) as read:
        again = [
            streamed.run(order.plan(first, last - first, rank, 3), rates(9)[first - 1 : last - 1], read=read)
            for first, last in ((1, 2), (2, 7), (7, 10))
        ]
    assert_same_bits(state(streamed), state(resident))
    assert any(values.tobytes() != before[name].tobytes() for name, values in state(streamed).items())
    told = numbers(results)
    for name in ("loss_seconds", "computing_seconds", "exchange_seconds"):
        del told[name]
    for name, values in told.items():
        assert np.concatenate([numbers(each)[name] for each in again]).tolist() == values.tolist(), name
    for streamed_gradient, gradient in zip(
        streamed.gradients(order.plan(0, 4, rank, 3), 2), resident.gradients(order.plan(0, 4, rank, 3), 2), strict=True
    ):
        assert streamed_gradient.tobytes() == gradient.tobytes()


def padded(plan: Plan, columns: int, sample: int) -> Plan:
    """The plan with more samples of weight zero."""

    def more(values: np.ndarray, filling: int) -> np.ndarray:
        return np.pad(values, [(0, 0), (0, columns)], constant_values=filling)

    return dataclasses.replace(
        plan, indices=more(plan.indices, sample), keys=more(plan.keys, 0), weights=more(plan.weights, 0)
    )


@pytest.mark.parametrize("network", ["fcnn", "lenet5", "lenet5-like"])
def test_samples_that_fill_up_change_nothing(make_step, float64: str, network: str) -> None:
    plain, filled, other = make_step(network), make_step(network), make_step(network)
    results: list[StepResults] = []
    for step, plan in (
        (plain, ORDER.plan(0, 4, 0, 1)),
        (filled, padded(ORDER.plan(0, 4, 0, 1), 13, 7)),
        (other, padded(ORDER.plan(0, 4, 0, 1), 13, 100)),
    ):
        results.append(step.run(plan, rates(4)))
    assert_same_bits(state(filled), state(other))
    for name, values in state(plain).items():
        np.testing.assert_allclose(state(filled)[name], values, rtol=1e-9, atol=1e-12, err_msg=name)
    assert correct(results[0]) == correct(results[1])
    np.testing.assert_allclose(losses(results[1]), losses(results[0]), rtol=1e-12)


@pytest.mark.parametrize("network", ["fcnn", "lenet5"])
@pytest.mark.parametrize("row", [0, 3])
def test_gradient_and_loss_are_keras_s_of_the_mean(make_step, part: Part, float64: str, network: str, row: int) -> None:
    """Networks without dropout; row 3 is the epoch's last batch, of 10."""
    step = make_step(network)
    plan = ORDER.plan(0, 4, 0, 1)
    _, start, stop = ORDER.bounds(row)
    samples = ORDER.epoch_indices(0)[start:stop]
    images = (part.images[samples] / 255 - 0.5) / 0.25
    with tf.GradientTape() as tape:
        logits = step.model(images, training=True)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(part.labels[samples], logits)
    expected = tape.gradient(loss, [variable.value for variable in step.model.trainable_variables])
    for gradient, right in zip(step.gradients(plan, row), expected, strict=True):
        assert np.linalg.norm(gradient - right) <= 1e-12 * np.linalg.norm(right)

    one = ORDER.plan(row, 1, 0, 1)
    results = step.run(one, np.array([1e-300]))
    np.testing.assert_allclose(losses(results), [loss.numpy()], rtol=1e-12)
    assert correct(results) == [int((logits.numpy().argmax(1) == part.labels[samples]).sum())]


WEIGHTS = np.array([0.25, 3.0, 0.0, 1.5])


@pytest.mark.parametrize("row", [0, 3])
def test_class_weights_are_keras_s(make_step, make_network, part: Part, float64: str, row: int) -> None:
    """One step of gradient descent, whose length is the learning rate, against `class_weight` of Keras."""
    step, by_keras = make_step("fcnn", "sgd", class_weights=WEIGHTS), make_network("fcnn")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    by_keras.compile(keras.optimizers.SGD(0.5), loss)
    _, start, stop = ORDER.bounds(row)
    samples = ORDER.epoch_indices(0)[start:stop]
    images = (part.images[samples] / 255 - 0.5) / 0.25
    expected = by_keras.train_on_batch(images, part.labels[samples], class_weight=dict(enumerate(WEIGHTS)))
    results = step.run(ORDER.plan(row, 1, 0, 1), np.array([0.5]))
    np.testing.assert_allclose(losses(results), [expected], rtol=1e-6)  # which Keras adds up in float32
    for variable, right in zip(step.model.trainable_variables, by_keras.trainable_variables, strict=True):
        np.testing.assert_allclose(variable.value.numpy(), right.value.numpy(), rtol=1e-10, atol=1e-13)


def test_each_of_two_mixed_labels_has_the_weight_of_its_class(make_step, make_feed, float64: str) -> None:
    order = SampleOrder(np.arange(250), 80, seed=3, group_size=10)
    feed, plan = make_feed(augmentation=AugmentationSettings(mixup=0.5, cutmix=1.0)), order.plan(0, 1, 0, 1)
    step = make_step("fcnn", feed=feed, group_size=10, class_weights=WEIGHTS)
    images, labels = feed.read(plan.indices)
    mixed = feed.training_batch(images[0], labels[0], tf.constant(plan.keys[0]), tf.constant(plan.weights[0]), 10)
    with tf.GradientTape() as tape:
        logits = step.model(mixed.images, training=True)
        parts = [
            share * WEIGHTS[targets] * keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True)
            for share, targets in ((mixed.shares, mixed.labels.numpy()), (1 - mixed.shares, mixed.partners.numpy()))
        ]
        loss = tf.reduce_sum(parts) / 80
    expected = tape.gradient(loss, [variable.value for variable in step.model.trainable_variables])
    for gradient, right in zip(step.gradients(plan), expected, strict=True):
        np.testing.assert_allclose(gradient, right, rtol=1e-9, atol=1e-13)


def test_parts_of_a_batch_with_class_weights_add_up_to_it(make_step, float64: str) -> None:
    """Two ranks' parts, of which the first has more samples, each computed in pieces."""
    whole = make_step("lenet5-like", class_weights=WEIGHTS)
    pieces = make_step("lenet5-like", class_weights=WEIGHTS, micro_batch_size=7)
    order = SampleOrder(np.arange(250), 81, seed=3, micro_batch_size=7)
    gradients = whole.gradients(SampleOrder(np.arange(250), 81, seed=3).plan(0, 1, 0, 1))
    parts = [pieces.gradients(order.plan(0, 1, rank, 2)) for rank in range(2)]
    for gradient, first, second in zip(gradients, *parts, strict=True):
        np.testing.assert_allclose(first + second, gradient, rtol=1e-10, atol=1e-14)


def test_balanced_weights_are_scikit_learn_s() -> None:
    labels = np.repeat([0, 1, 3], [5, 40, 15])
    found = balanced_weights(labels, 5)
    assert found[[2, 4]].tolist() == [0, 0]  # of which there are no samples
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels)
    np.testing.assert_allclose(found[[0, 1, 3]], expected, rtol=1e-15)
    np.testing.assert_allclose(found[labels].mean(), 1, rtol=1e-15)


def test_dropout_is_keyed_by_the_plan(make_step) -> None:
    step = make_step()
    plan = ORDER.plan(0, 1, 0, 1)
    gradient = step.gradients(plan)[0]
    assert np.array_equal(step.gradients(plan)[0], gradient)
    rekeyed = dataclasses.replace(plan, keys=plan.keys + np.uint32(1))
    assert not np.array_equal(step.gradients(rekeyed)[0], gradient)


def test_the_exchanged_sums_are_divided_by_the_count_of_the_whole_batch(make_step, float64: str) -> None:
    """Two ranks' parts, added here by hand: the first has more samples than the second."""
    step = make_step("lenet5-like")
    order = SampleOrder(np.arange(250), 81, seed=3)
    whole = step.gradients(order.plan(0, 1, 0, 1))
    parts = [step.gradients(order.plan(0, 1, rank, 2)) for rank in range(2)]
    for gradient, first, second in zip(whole, *parts, strict=True):
        np.testing.assert_allclose(first + second, gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("network", ["fcnn", "lenet5-like"])
def test_l2_is_added_to_kernels_once(make_step, float64: str, network: str) -> None:
    plan = ORDER.plan(0, 1, 0, 1)
    plain, regularised = make_step(network), make_step(network, l2=0.25)
    variables = plain.model.trainable_variables
    for variable, other in zip(variables, regularised.model.trainable_variables, strict=True):
        if variable.name == "bias":  # not zero, so that a decay would show
            for each in (variable, other):
                each.assign(np.full(variable.shape, 0.5))
    for gradient, with_l2, variable in zip(plain.gradients(plan), regularised.gradients(plan), variables, strict=True):
        expected = gradient + 0.25 * variable.value.numpy() * (variable.name == "kernel")
        np.testing.assert_allclose(with_l2, expected, rtol=1e-12, atol=1e-15)
    without, with_l2 = (losses(step.run(plan, rates(1)))[0] for step in (plain, regularised))
    assert without == with_l2  # what is reported is without the regularisation


def test_each_step_has_its_learning_rate(make_step, float64: str) -> None:
    """Plain gradient descent, by hand."""
    step = make_step("fcnn", "sgd")
    plan = ORDER.plan(0, 4, 0, 1)
    by_hand = make_step("fcnn", "sgd")
    each = np.array([0.1, 0.0, 0.3, 0.02])
    step.run(plan, each)
    for row in range(4):
        gradients = by_hand.gradients(plan, row)
        for variable, gradient in zip(by_hand.model.trainable_variables, gradients, strict=True):
            variable.assign(variable.value.numpy() - each[row] * gradient)
    for one, other in zip(step.model.get_weights(), by_hand.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("lars", "adamw")])
def test_optimizers_take_keras_s_steps(make_step, float64: str, name: str) -> None:
    """test_regularisation.py has the other two."""
    row = OPTIMIZERS[name]
    step, by_keras = make_step("fcnn", name), make_step("fcnn", name).model
    plan = ORDER.plan(0, 4, 0, 1)
    optimizer = getattr(keras.optimizers, row.class_name)(row.learning_rate, **row.arguments)
    before = step.model.get_weights()
    for number in range(3):
        optimizer.apply([tf.constant(each) for each in step.gradients(plan, number)], by_keras.trainable_variables)
        step.run(ORDER.plan(number, 1, 0, 1), np.array([row.learning_rate]))
    for old, new, right in zip(before, step.model.get_weights(), by_keras.get_weights(), strict=True):
        assert not np.allclose(old, new, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(new, right, rtol=1e-5, atol=1e-7)  # Keras has 0.9 and 0.999 in float32


@pytest.mark.parametrize("micro_batch_size", [7, 40, 80, 100])
def test_micro_batches_add_up_to_the_batch(make_step, float64: str, micro_batch_size: int) -> None:
    whole, pieces = make_step(), make_step(micro_batch_size=micro_batch_size)
    order = SampleOrder(np.arange(250), 80, seed=3, micro_batch_size=micro_batch_size)
    expected = whole.run(ORDER.plan(0, 5, 0, 1), rates(5))
    results = pieces.run(order.plan(0, 5, 0, 1), rates(5))
    np.testing.assert_allclose(losses(results), losses(expected), rtol=1e-12)
    assert correct(results) == correct(expected)
    for name, values in state(whole).items():
        np.testing.assert_allclose(state(pieces)[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


DENSE = frozenset({"fc1/kernel", "fc2/kernel", "logits/kernel"})


@pytest.mark.parametrize("micro_batch_size", [None, 7, 40])
def test_products_of_factors_are_the_gradients(make_step, float64: str, micro_batch_size: int | None) -> None:
    order = SampleOrder(np.arange(250), 80, seed=3, micro_batch_size=micro_batch_size)
    plan = order.plan(0, 4, 0, 1)
    plain = make_step(l2=0.25)
    factored = make_step(l2=0.25, exchange=LocalExchange(DENSE), micro_batch_size=micro_batch_size)
    for row in (0, 3):  # the last has 10 samples, and what fills up
        pairs = zip(factored.gradients(plan, row), plain.gradients(plan, row), strict=True)
        for (gradient, right), variable in zip(pairs, plain.model.trainable_variables, strict=True):
            np.testing.assert_allclose(gradient, right, rtol=1e-10, atol=1e-14, err_msg=variable.path)
    plain.run(plan, rates(4))
    factored.run(plan, rates(4))
    for name, values in state(plain).items():
        np.testing.assert_allclose(state(factored)[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("mixed", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_short_factors_are_multiplied_in_float32(make_step, mixed: str) -> None:
    scale = make_loss_scale(mixed)
    if scale is not None:
        scale.variables["loss_scale/scale"].assign(64)
    plan = ORDER.plan(0, 1, 0, 1)
    plain = make_step(loss_scale=scale).gradients(plan)
    step = make_step(loss_scale=scale, exchange=LocalExchange(DENSE))
    for gradient, right, variable in zip(step.gradients(plan), plain, step.model.trainable_variables, strict=True):
        assert gradient.dtype == np.float32
        assert np.linalg.norm(gradient - right) <= 0.01 * np.linalg.norm(right)
        if variable.path in DENSE:  # the other way, sums are rounded to the shorter type
            assert np.unique(gradient.view(np.uint32) & 0xFFF).size > 1
            assert np.unique(gradient).size > np.unique(right).size


def test_xla_computes_the_same(make_step) -> None:
    plan = ORDER.plan(0, 1, 0, 1)
    for gradient, right in zip(make_step(xla=True).gradients(plan), make_step().gradients(plan), strict=True):
        assert np.linalg.norm(gradient - right) <= 1e-5 * np.linalg.norm(right)


@pytest.fixture
def mixed(request: pytest.FixtureRequest) -> Iterator[str]:
    """What is built in the test computes in a mixed precision."""
    use_precision(request.param)
    yield request.param
    use_precision("float32")


@pytest.mark.parametrize("mixed", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_mixed_precision_computes_about_the_same(make_step, mixed: str) -> None:
    plan = ORDER.plan(0, 1, 0, 1)
    scale = make_loss_scale(mixed)
    if scale is not None:
        scale.variables["loss_scale/scale"].assign(64)  # the first one is tried, and overflows here
    step = make_step(loss_scale=scale)
    gradients = step.gradients(plan)
    assert step.model.layers[1].compute_dtype == mixed.removeprefix("mixed_")
    assert {variable.dtype for variable in step.model.variables} == {"float32"}
    use_precision("float32")
    for gradient, right in zip(gradients, make_step().gradients(plan), strict=True):
        assert gradient.dtype == np.float32
        distance = np.linalg.norm(gradient - right) / np.linalg.norm(right)
        assert 1e-5 < distance < (0.2 if mixed == "mixed_bfloat16" else 0.05)


@pytest.mark.parametrize("mixed", ["mixed_float16"], indirect=True)
def test_a_step_whose_gradients_overflow_is_left_out_and_the_scale_halved(make_step, mixed: str) -> None:
    scale = make_loss_scale(mixed)
    assert scale is not None
    scale.variables["loss_scale/scale"].assign(2.0**40)
    step = make_step(loss_scale=scale)
    before = state(step)
    results = step.run(ORDER.plan(0, 2, 0, 1), rates(2))
    assert results.diagnostics.skipped.tolist() == [True, True]
    assert float(scale.value) == 2.0**38
    after = state(step)
    for name in before:
        assert name.endswith("learning_rate") or before[name].tobytes() == after[name].tobytes(), name
    results = step.run(ORDER.plan(2, 40, 0, 1), rates(40))
    assert not results.diagnostics.skipped[-1]
    assert np.isfinite(losses(results)).all()
    assert not np.array_equal(state(step)["model/conv1/kernel"], before["model/conv1/kernel"])


def test_a_scale_that_did_well_for_long_is_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_scale, "_PATIENCE", 3)
    scale = LossScale()
    seen = []
    for finite in (True, True, True, True, True, False, True, True, True):
        scale.update(tf.constant(finite))
        seen.append(float(scale.value) / 2**15)
    assert seen == [1, 1, 2, 2, 2, 1, 1, 1, 2]


def test_what_a_rank_reports_comes_back(make_step) -> None:
    step = make_step("fcnn")
    reports = step.run(ORDER.plan(0, 3, 0, 1), rates(3), Reports(seconds=0.25)).reports
    assert reports.seconds.tolist() == [0.25] * 3
    assert reports.stops.tolist() == [0] * 3
    reports = step.run(ORDER.plan(3, 2, 0, 1), rates(2), Reports(stops=True)).reports
    assert reports.stops.tolist() == [1] * 2
    assert reports.changes.tolist() == [0] * 2
    assert step.run(ORDER.plan(3, 2, 0, 1), rates(2), Reports(changes=True)).reports.changes.tolist() == [1] * 2


def test_a_rank_knows_its_own_loss_and_time(make_step) -> None:
    results = make_step("fcnn", timed=True).run(ORDER.plan(0, 3, 0, 1), rates(3))
    own = results.diagnostics
    np.testing.assert_allclose(own.local_losses / ORDER.plan(0, 3, 0, 1).counts, losses(results), rtol=1e-6)
    assert (own.loss_seconds > 0).all()
    assert (own.computing_seconds >= own.loss_seconds).all()
    assert (own.computing_seconds < 60).all()
    assert (own.exchange_seconds >= 0).all()
    assert (own.exchange_seconds < own.computing_seconds).all()  # there is nothing to exchange


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.01, "l2": 0.1}, {"micro_batch_size": 20}])
def test_norms_are_those_of_the_last_gradients_and_change_no_bits(make_step, options: dict[str, Any]) -> None:
    plain, looked_at = make_step(**options), make_step(**options)
    plain.run(ORDER.plan(0, 3, 0, 1), rates(3))
    gradients = plain.gradients(ORDER.plan(3, 1, 0, 1))
    assert plain.run(ORDER.plan(3, 1, 0, 1), rates(1)).gradient_norms == {}
    looked_at.run(ORDER.plan(0, 1, 0, 1), rates(3)[:1], with_norms=True)
    looked_at.run(ORDER.plan(1, 2, 0, 1), rates(3)[1:])
    norms = looked_at.run(ORDER.plan(3, 1, 0, 1), rates(1), with_norms=True).gradient_norms
    assert list(norms) == [each.path for each in looked_at.model.trainable_variables]
    np.testing.assert_allclose(list(norms.values()), [np.linalg.norm(each) for each in gradients], rtol=1e-5)
    assert_same_bits(state(plain), state(looked_at))


def test_norms_of_many_steps_are_those_of_the_last(
    make_step, make_feed, stored: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if they take several calls, as streamed images do."""
    monkeypatch.setattr(pixels, "STREAMED_BYTES", 2 * 80 * stored.images[0].nbytes)
    many, single = make_step(feed=make_feed(stored, 0)), make_step()
    norms = many.run(ORDER.plan(0, 3, 0, 1), rates(3), with_norms=True).gradient_norms
    for number in range(3):
        expected = single.run(ORDER.plan(number, 1, 0, 1), rates(3)[number : number + 1], with_norms=True)
    assert norms == expected.gradient_norms
    assert all(norm > 0 for norm in norms.values())
