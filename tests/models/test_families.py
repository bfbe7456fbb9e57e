"""The deep networks: sizes, normalisations, and AlexNet written out in raw operations."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnn.models.batch import TrainingBatch, training_on
from cnn.models.group_batch_normalization import GroupBatchNormalization, normalise_groups
from cnn.models.layers import LocalResponseNormalization
from cnn.models.registry import NETWORKS, ModelSettings, build_network

# At 1,000 classes and 224x224 pixels; GoogLeNet's without its auxiliary classifiers.
TRAINABLE_PARAMETERS = {
    "alexnet": 62_378_344,
    "zfnet": 62_357_608,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "googlenet": 6_998_552,
    "mobilenet": 4_231_976,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}


@pytest.mark.parametrize("name", TRAINABLE_PARAMETERS)
def test_parameters_are_the_papers(name: str) -> None:
    with keras.StatelessScope(initialize_variables=False):  # they need memory and time
        model = build_network(ModelSettings(model=name), (224, 224, 3), 1000, seed=1)
    keras.utils.clear_session()  # otherwise Keras initializes them at the next occasion
    sizes = [math.prod(variable.shape) for variable in model.trainable_variables if "auxiliary" not in variable.path]
    assert sum(sizes) == TRAINABLE_PARAMETERS[name]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.endswith("-32")])
def test_small_forms_take_small_images(name: str) -> None:
    model = build_network(ModelSettings(model=name), (32, 32, 3), 10, seed=1)
    assert model(tf.zeros((2, 32, 32, 3))).shape == (2, 10)


def test_alexnet_is_what_raw_operations_compute() -> None:
    model = build_network(ModelSettings(model="alexnet"), (67, 67, 3), 5, seed=1)
    weights = {variable.path: variable.value for variable in model.trainable_variables}
    images = tf.random.stateless_normal((2, 67, 67, 3), (1, 2))

    def convolution(x: tf.Tensor, name: str, stride: int = 1) -> tf.Tensor:
        x = tf.nn.conv2d(x, weights[f"{name}/kernel"], stride, "SAME")
        return tf.nn.relu(tf.nn.bias_add(x, weights[f"{name}/bias"]))

    def pooled_and_normalised(x: tf.Tensor) -> tf.Tensor:
        x = tf.nn.max_pool2d(x, 3, 2, "VALID")
        return tf.nn.local_response_normalization(x, depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75)

    x = pooled_and_normalised(convolution(images, "conv1", 4))
    x = pooled_and_normalised(convolution(x, "conv2"))
    x = convolution(convolution(convolution(x, "conv3"), "conv4"), "conv5")
    x = tf.reshape(tf.nn.max_pool2d(x, 3, 2, "VALID"), (2, -1))
    for name in ("fc6", "fc7"):
        x = tf.nn.relu(x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"])
    logits = x @ weights["logits/kernel"] + weights["logits/bias"]
    np.testing.assert_allclose(model(images), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [3, 16])
def test_local_response_normalisation_is_tensorflows(channels: int) -> None:
    maps = 20 * tf.random.stateless_normal((2, 4, 4, channels), (3, 4))
    layer = LocalResponseNormalization(radius=2, k=2.0, alpha=1e-2)

    def both(normalise: object) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(maps)
            out = normalise(maps)  # type: ignore[operator]
            loss = tf.reduce_sum(out * tf.cos(maps))
        return out, tape.gradient(loss, maps)

    theirs = both(lambda x: tf.nn.local_response_normalization(x, 2, 2.0, 1e-2, 0.75))
    for mine, expected in zip(both(layer), theirs, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=2e-5, atol=2e-6)


def test_local_response_normalisation_has_float64() -> None:
    maps = np.random.default_rng(1).normal(size=(2, 3, 3, 7))
    sums = np.stack([(maps[..., max(0, c - 2) : c + 3] ** 2).sum(-1) for c in range(7)], -1)
    out = LocalResponseNormalization(dtype="float64")(maps)
    np.testing.assert_allclose(out, maps / (2 + 1e-4 * sums) ** 0.75, rtol=1e-14)


def _normalise(
    layer: GroupBatchNormalization, maps: np.ndarray, weights: list[int]
) -> tuple[np.ndarray, TrainingBatch]:
    batch = TrainingBatch(
        keys=None, weights=tf.constant(weights, tf.float64), count=tf.constant(sum(weights)), group_size=3
    )
    with training_on(batch):
        return layer(maps, training=True).numpy(), batch


def test_each_group_is_normalised_by_its_real_samples_alone() -> None:
    maps = np.random.default_rng(2).normal(3, 2, size=(9, 4, 5, 2))
    layer = GroupBatchNormalization(dtype="float64")
    out, batch = _normalise(layer, maps, [1, 1, 1, 1, 1, 0, 0, 0, 0])
    for real in (slice(0, 3), slice(3, 5)):
        mean, variance = maps[real].mean((0, 1, 2)), maps[real].var((0, 1, 2))
        np.testing.assert_allclose(out[real], (maps[real] - mean) / np.sqrt(variance + 1e-5), rtol=1e-9, atol=1e-12)
    assert np.isfinite(out).all()
    # After one step from 0 and from 1.
    said = _said(batch)
    np.testing.assert_allclose(said["moving_mean"], 0.1 * maps[:5].mean((0, 1, 2)), rtol=1e-12)
    squares = sum(((maps[real] - maps[real].mean((0, 1, 2))) ** 2).sum((0, 1, 2)) for real in (slice(3), slice(3, 5)))
    np.testing.assert_allclose(said["moving_variance"], 0.9 + 0.1 * squares / (5 * 4 * 5 - 2), rtol=1e-12)


def _said(batch: TrainingBatch) -> dict[str, np.ndarray]:
    """The moving statistics' next values."""
    return {variable.path.split("/")[-1]: value.numpy() for variable, value in batch.statistics}


def test_the_gradient_of_batch_normalisation_is_that_of_its_formula() -> None:
    generator = np.random.default_rng(8)
    maps, upstream = (tf.constant(generator.normal(3, 2, size=(9, 4, 5, 2))) for _ in range(2))
    real = (slice(0, 3), slice(3, 5))  # one sample of the second group is padding, and all of the third
    weights = [1, 1, 1, 1, 1, 0, 0, 0, 0]
    upstream *= tf.constant(weights, tf.float64)[:, None, None, None]
    layer = GroupBatchNormalization(dtype="float64")
    layer.build(maps.shape)
    layer.gamma.assign([0.5, 2.0])
    layer.beta.assign([1.0, -1.0])
    batch = TrainingBatch(keys=None, weights=tf.constant(weights, tf.float64), count=tf.constant(5), group_size=3)
    variables = [layer.gamma.value, layer.beta.value]
    with tf.GradientTape() as tape, training_on(batch):
        tape.watch(maps)
        outputs = layer(maps, training=True)
    found = tape.gradient(outputs, [maps, *variables], upstream)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        parts = []
        for each in real:
            mean, variance = tf.nn.moments(maps[each], (0, 1, 2))
            parts.append(tf.nn.batch_normalization(maps[each], mean, variance, variables[1], variables[0], 1e-5))
        outputs = tf.concat(parts, 0)
    expected = tape.gradient(outputs, [maps, *variables], upstream[:5])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_a_group_of_one_value_says_nothing_of_the_variance() -> None:
    maps = np.random.default_rng(5).normal(3, 2, size=(6, 1, 1, 2))
    batch = _normalise(GroupBatchNormalization(dtype="float64"), maps, [1, 1, 1, 1, 0, 0])[1]
    np.testing.assert_allclose(_said(batch)["moving_mean"], 0.1 * maps[:4].mean((0, 1, 2)), rtol=1e-12)
    expected = 0.9 + 0.1 * maps[:3].var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(_said(batch)["moving_variance"], expected, rtol=1e-12)


@pytest.mark.parametrize("side", [1, 2])
def test_a_batch_of_one_sample(side: int) -> None:
    """The variance of a single value cannot be estimated: the moving one stays."""
    layer = GroupBatchNormalization(dtype="float64")
    maps = np.random.default_rng(6).normal(3, 2, size=(3, side, side, 2))
    layer.build(maps.shape)
    layer.moving_variance.assign([4.0, 9.0])
    layer.beta.assign([0.5, -0.5])
    out, batch = _normalise(layer, maps, [1, 0, 0])
    expected = np.array([4.0, 9.0])
    if side > 1:
        expected = 0.9 * expected + 0.1 * maps[0].var((0, 1), ddof=1)
    else:
        np.testing.assert_allclose(out[0, 0, 0], [0.5, -0.5], atol=1e-12)
    np.testing.assert_allclose(_said(batch)["moving_variance"], expected, rtol=1e-14)


def test_what_fills_up_changes_nothing() -> None:
    maps = np.random.default_rng(3).normal(size=(6, 4, 4, 2))
    other = maps.copy()
    other[5] = 1000
    layer = GroupBatchNormalization(dtype="float64")
    weights = [1, 1, 1, 1, 1, 0]
    assert np.array_equal(_normalise(layer, maps, weights)[0][:5], _normalise(layer, other, weights)[0][:5])


def test_compiled_by_xla_as_for_a_gpu_batch_normalisation_computes_the_same() -> None:
    generator = np.random.default_rng(7)
    maps, upstream = (tf.constant(generator.normal(3, 2, size=(9, 4, 5, 2))) for _ in range(2))
    shares = tf.constant([[1 / 3] * 3, [1 / 2, 1 / 2, 0], [1 / 3] * 3], tf.float64)[:, :, None, None]
    gamma, beta = tf.constant([0.5, 2.0], tf.float64), tf.constant([1.0, -1.0], tf.float64)

    def results(normalise: Callable[..., Any], maps: tf.Tensor, upstream: tf.Tensor, shares: tf.Tensor) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch((maps, gamma, beta))
            outputs, *statistics = normalise(maps, shares, gamma, beta, 1e-5)
        return [outputs, *statistics, *tape.gradient(outputs, (maps, gamma, beta), upstream)]

    # As in a training step, the number of samples is not known when the graph is made.
    shapes = (maps.shape[1:], upstream.shape[1:], shares.shape[1:])
    of_any_number = [tf.TensorSpec((None, *shape), tf.float64) for shape in shapes]
    step = tf.function(results, autograph=False)
    compiled = tf.function(normalise_groups, autograph=False, jit_compile=True)
    by_xla = step.get_concrete_function(compiled, *of_any_number)(maps, upstream, shares)
    for one, other in zip(by_xla, results(normalise_groups, maps, upstream, shares), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_evaluation_uses_the_moving_statistics() -> None:
    layer = GroupBatchNormalization(dtype="float64")
    layer.build((None, 4, 4, 2))
    layer.moving_mean.assign([1.0, 2.0])
    layer.moving_variance.assign([4.0, 9.0])
    maps = np.random.default_rng(4).normal(size=(5, 4, 4, 2))
    np.testing.assert_allclose(layer(maps), (maps - [1, 2]) / np.sqrt(np.array([4, 9]) + 1e-5), rtol=1e-12, atol=1e-12)
