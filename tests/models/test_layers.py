"""Dropout by keys: whose mask it is, and how much of it."""

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn.keyed_random import fold32
from cnn.models.batch import TrainingBatch, current_batch, training_on
from cnn.models.bias import add_bias
from cnn.models.conv2d import Conv2D
from cnn.models.dense import Dense
from cnn.models.depthwise_conv2d import DepthwiseConv2D
from cnn.models.layers import Dropout, FewChannelConv2D

UNITS = 40


def batch_of(keys: np.ndarray) -> TrainingBatch:
    return TrainingBatch(
        keys=tf.constant(keys, tf.uint32), weights=tf.ones(len(keys)), count=tf.constant(len(keys)), group_size=1
    )


def drop(keys: np.ndarray, *, name: str = "dropout1", rate: float = 0.5, units: int = UNITS) -> np.ndarray:
    """What the layer makes of ones."""
    with training_on(batch_of(keys)):
        return np.asarray(Dropout(rate, name=name)(tf.ones((len(keys), units)), training=True))


KEYS = fold32(1, 0, np.arange(64))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 12))
def test_a_mask_depends_neither_on_the_order_nor_on_the_number_of_other_samples(order: list[int], count: int) -> None:
    part = np.array(order[:count])
    assert np.array_equal(drop(KEYS[part]), drop(KEYS)[part])


def test_masks_differ_by_key_layer_and_unit() -> None:
    masks = drop(KEYS) > 0
    assert len(np.unique(masks, axis=0)) == len(KEYS)
    assert len(np.unique(masks, axis=1)) == len(KEYS)
    assert len(np.unique(masks.T, axis=0)) == UNITS
    assert not np.array_equal(masks, drop(KEYS, name="dropout2") > 0)
    assert np.array_equal(masks, drop(KEYS) > 0)


def test_the_first_units_do_not_depend_on_how_many_there_are() -> None:
    assert np.array_equal(drop(KEYS, units=UNITS)[:, :7], drop(KEYS, units=7))


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_share_dropped_and_expectation(rate: float) -> None:
    outputs = drop(fold32(2, 0, np.arange(1000)), rate=rate, units=1000)
    count = outputs.size
    dropped = (outputs == 0).sum()
    assert abs(dropped - rate * count) < 5 * np.sqrt(count * rate * (1 - rate))
    assert np.allclose(outputs[outputs > 0], 1 / (1 - rate), rtol=1e-6)
    assert abs(outputs.mean() - 1) < 5 * np.sqrt(rate / (1 - rate) / count)
    for axis in (0, 1):  # no sample and no unit is favoured: six sigma for the worst of a thousand
        worst = abs((outputs == 0).sum(axis) - rate * 1000).max()
        assert worst < 6 * np.sqrt(1000 * rate * (1 - rate))


def test_inputs_of_any_shape() -> None:
    inputs = tf.reshape(tf.range(1.0, 2 * 3 * 4 * 5 + 1), (2, 3, 4, 5))
    with training_on(batch_of(KEYS[:2])):
        outputs = Dropout(0.5, name="dropout1")(inputs, training=True).numpy()
    expected = inputs.numpy() * drop(KEYS[:2], units=60).reshape(inputs.shape)
    assert np.array_equal(outputs, expected)


def test_the_gradient_is_the_mask() -> None:
    layer, inputs = Dropout(0.5, name="dropout1"), tf.ones((len(KEYS), UNITS))
    with training_on(batch_of(KEYS)), tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
    assert np.array_equal(tape.gradient(outputs, inputs).numpy(), outputs.numpy())


@pytest.mark.parametrize("training", [False, None])
def test_nothing_is_dropped_outside_training(training: bool | None) -> None:
    inputs = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(Dropout(0.5)(inputs, training=training), inputs)


def test_rate_zero_drops_nothing() -> None:
    assert (drop(KEYS, rate=0.0) == 1).all()


def test_training_needs_a_batch() -> None:
    with pytest.raises(RuntimeError, match="training_on"):
        Dropout(0.5)(np.ones((2, 3), np.float32), training=True)


def test_the_batch_is_the_innermost_one_and_is_left_with_the_block() -> None:
    outer, inner = batch_of(KEYS[:1]), batch_of(KEYS[1:2])
    with training_on(outer):
        with pytest.raises(KeyError), training_on(inner):
            assert current_batch() is inner
            raise KeyError
        assert current_batch() is outer
    with pytest.raises(RuntimeError):
        current_batch()


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_impossible_rate(rate: float) -> None:
    with pytest.raises(ValueError, match="dropout rate"):
        Dropout(rate)


@pytest.mark.parametrize("shape", [(28, 28, 1), (9, 10, 3), (10, 9, 3)], ids=str)
@pytest.mark.parametrize("size", [5, 9])
def test_few_channel_convolution_is_keras_s_pixel_for_pixel(size: int, shape: tuple[int, int, int]) -> None:
    """In LeNet the pooling behind it would hide neighbouring columns that are exchanged."""
    random = np.random.default_rng(0)
    images = tf.constant(random.normal(size=(3, *shape)), tf.float32)
    layer = FewChannelConv2D(6, size, padding="same", activation="tanh")
    layer.build((None, *shape))
    layer.bias.assign(random.normal(size=6))
    plain = tf.nn.conv2d(images, layer.kernel.value, 1, "SAME") + layer.bias.value
    np.testing.assert_allclose(layer(images), tf.tanh(plain), atol=1e-5)


def both_convolutions(
    shape: tuple[int, ...], *arguments: int, ours: type[keras.layers.Layer] = Conv2D, **settings: str
) -> tuple[Any, list[Any]]:
    """A function of the project's layer and, of Keras's, the results: outputs, gradients by maps, kernel and bias."""
    kinds = (ours, getattr(keras.layers, ours.__name__))
    ours, theirs = (kind(*arguments, activation="relu", **settings) for kind in kinds)
    maps = tf.random.stateless_normal((2, *shape), (1, 2))
    for layer in (ours, theirs):
        layer.build(maps.shape)
    theirs.set_weights(ours.get_weights())

    def gradients(layer: keras.layers.Layer) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(maps)
            outputs = layer(maps)
            loss = tf.reduce_sum(outputs * tf.cos(outputs))
        return [outputs, *tape.gradient(loss, [maps, *(each.value for each in layer.trainable_variables)])]

    return tf.function(lambda: gradients(ours)), gradients(theirs)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (11, 4), (1, 2)])
def test_a_convolution_is_keras_s_and_its_kernel_s_gradient_comes_first(kernel: int, stride: int, padding: str) -> None:
    ours, theirs = both_convolutions((16, 17, 3), 4, kernel, stride, padding=padding, kernel_initializer="he_normal")
    for one, other in zip(ours(), theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    of_maps, of_kernel = ([each for each in ours.get_concrete_function().graph.get_operations()
                           if each.type == f"Conv2DBackprop{what}"] for what in ("Input", "Filter"))  # fmt: skip
    assert of_kernel[0] in of_maps[0].control_inputs


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2)])
def test_so_is_a_depthwise_one(kernel: int, stride: int, padding: str) -> None:
    ours, theirs = both_convolutions((16, 17, 3), kernel, stride, ours=DepthwiseConv2D, padding=padding)
    for one, other in zip(ours(), theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    operations = {each.type: each for each in ours.get_concrete_function().graph.get_operations()}
    of_maps, of_kernel = (operations[f"DepthwiseConv2dNativeBackprop{what}"] for what in ("Input", "Filter"))
    assert of_kernel in of_maps.control_inputs


@pytest.mark.parametrize("setting", [{"dilation_rate": 2}, {"data_format": "channels_first"}], ids=str)
@pytest.mark.parametrize("make", [functools.partial(Conv2D, 4, 3), functools.partial(DepthwiseConv2D, 3)])
def test_a_form_that_a_convolution_does_not_have_is_refused(make: Any, setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="mine has .*neither dilation nor channels_first"):
        make(name="mine", **setting)(tf.zeros((1, 8, 8, 8)))


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (1, 4), (2, 2), (56, 57)], ids=str)
def test_a_depthwise_convolution_s_gradients_are_as_exact_as_their_type_every_time(
    shape: tuple[int, int], stride: int, kind: str
) -> None:
    """Of numbers above zero, whose sums grow."""
    random = np.random.default_rng(0)
    maps = random.uniform(0, 1, (16, *shape, 64))
    upstream = random.uniform(0, 1, (16, *(-(-side // stride) for side in shape), 64))
    initial = random.uniform(0, 1, (3, 3, 64, 1))

    def gradients_in(kind: str) -> Any:
        layer = DepthwiseConv2D(3, stride, "same", use_bias=False, dtype=kind)
        layer.build((None, *shape, 64))
        layer.kernel.assign(tf.cast(initial, kind))
        inputs, weights = tf.constant(maps, kind), tf.constant(upstream, kind)

        def gradients() -> Any:
            return tf.gradients(layer(inputs), [layer.kernel.value, inputs], weights)

        return tf.function(gradients)

    right, gradients, found = gradients_in("float64")(), gradients_in(kind), set()
    for _ in range(10):
        for size in (2000, 100_000, 1_000_000):
            np.full(size, np.nan, np.float32)  # which the next one may find in memory
        values = [each.numpy() for each in gradients()]
        for one, other in zip(values, right, strict=True):
            assert np.linalg.norm(one.astype(np.float64) - other) < 0.005 * np.linalg.norm(other)
        found.add(b"".join(each.tobytes() for each in values))
    assert len(found) == 1


@pytest.mark.parametrize("shape", [(16, 16, 6), (9, 14, 1), (12, 10, 8)], ids=str)
@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_the_gradient_by_few_channels_is_keras_s_and_the_kernel_s_comes_first(
    size: int, shape: tuple[int, int, int]
) -> None:
    ours, theirs = both_convolutions(shape, 5, size, padding="valid")
    for one, other in zip(ours(), theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    operations = ours.get_concrete_function().graph.get_operations()
    (of_kernel,) = (each for each in operations if each.type == "Conv2DBackpropFilter")
    assert not [each for each in operations if each.type == "Conv2DBackpropInput"]
    assert [each for each in operations if of_kernel in each.control_inputs]


@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (1, 4), (2, 2)], ids=str)
def test_the_kernel_s_gradient_of_maps_of_one_column_is_the_same_in_bfloat16_every_time(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    maps = random.standard_normal((24, *shape, 64))
    upstream = random.standard_normal((24, *((side + 1) // 2 for side in shape), 128))

    def gradient_in(kind: str) -> Any:
        layer = Conv2D(128, 3, 2, "same", use_bias=False, dtype=kind)
        layer.build((None, *shape, 64))
        inputs, weights = tf.constant(maps, kind), tf.constant(upstream, kind)

        def gradient() -> Any:
            return tf.gradients(layer(inputs), layer.kernel.value, weights)

        return tf.function(gradient)

    right, gradient, found = gradient_in("float64")()[0].numpy(), gradient_in("bfloat16"), set()
    for _ in range(20):
        for size in (2000, 100_000, 1_000_000):
            np.full(size, np.nan, np.float32)  # which the next one may find in memory
        values = gradient()[0].numpy()
        assert np.linalg.norm(values.astype(np.float64) - right) < 0.01 * np.linalg.norm(right)
        found.add(values.tobytes())
    assert len(found) == 1


def test_a_dense_layer_tells_the_factors_of_its_gradient() -> None:
    ours, theirs = Dense(5, activation="relu", name="ours"), keras.layers.Dense(5, activation="relu")
    inputs = tf.random.stateless_normal((6, 7), (1, 2))
    for layer in (ours, theirs):
        layer.build(inputs.shape)
    ours.bias.assign(np.linspace(-1, 1, 5))
    theirs.set_weights(ours.get_weights())
    assert np.array_equal(ours(inputs), theirs(inputs))
    batch = batch_of(KEYS[:6])
    with tf.GradientTape() as tape:
        with training_on(batch):
            outputs = ours(inputs, training=True)
        loss = tf.reduce_sum(tf.sin(outputs))
    assert np.array_equal(outputs, theirs(inputs))
    factors = batch.factors["ours/kernel"]
    gradient, of_outputs = tape.gradient(loss, [ours.kernel.value, factors.outputs])
    np.testing.assert_allclose(tf.matmul(factors.inputs, of_outputs, transpose_a=True), gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("shape", [(16, 40, 40, 3), (4000, 5)], ids=str)
def test_a_bias_s_gradient_is_as_exact_as_its_type(shape: tuple[int, ...], kind: str) -> None:
    """A sum in bfloat16 stops growing at 256 times its summands."""
    upstream = tf.cast(tf.random.stateless_uniform(shape, (1, 2)), kind)
    bias = tf.ones(shape[-1:], kind)
    with tf.GradientTape() as tape:
        tape.watch(bias)
        outputs = add_bias(tf.zeros(shape, kind), bias)
        loss = tf.reduce_sum(tf.cast(outputs * upstream, tf.float64))
    assert tf.reduce_all(outputs == 1)
    exact = np.asarray(tf.cast(upstream, tf.float64)).sum(tuple(range(len(shape) - 1)))
    found = tf.cast(tape.gradient(loss, bias), tf.float64)
    np.testing.assert_allclose(found, exact, rtol={"bfloat16": 2**-7, "float16": 2**-9, "float32": 1e-5}[kind])


@pytest.mark.parametrize(
    "layer", [Conv2D(5, 3), Conv2D(5, 3, padding="same", activation="relu"), FewChannelConv2D(6, 5, padding="same")]
)
def test_a_convolution_s_bias_learns_in_bfloat16(layer: Any) -> None:
    layer = layer.__class__.from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
    layer.build((None, 30, 31, 3))
    maps = tf.random.stateless_uniform((8, 30, 31, 3), (1, 2))
    with tf.GradientTape() as tape:
        outputs = layer(maps)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32))
    expected = tf.math.count_nonzero(outputs, (0, 1, 2), dtype=tf.float32)
    np.testing.assert_allclose(tape.gradient(loss, layer.bias.value), expected, rtol=2**-7)
