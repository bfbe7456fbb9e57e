"""Every network against the same network from raw operations, and against the sizes that are known of it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnn.errors import UserError
from cnn.learner.precision import use_precision
from cnn.models.registry import NETWORKS, ModelSettings, build_network, check_image_size, check_layers

SHAPES = [(28, 28, 1), (32, 32, 3), (29, 31, 1), (28, 31, 2), (31, 28, 1)]
"""Even and odd sides, in every combination: the faster layers fall back for some."""


@pytest.fixture(params=["float32", "float64"])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    use_precision(request.param)
    yield request.param
    use_precision("float32")


def linear(x: Any) -> Any:
    return x


def raw_fcnn(weights: Sequence[Any], images: Any, _: Callable[[Any], Any]) -> Any:
    kernel, bias = weights
    return tf.nn.bias_add(tf.matmul(tf.reshape(images, (len(images), -1)), kernel), bias)


def raw_lenet(weights: Sequence[Any], images: Any, activation: Callable[[Any], Any]) -> Any:
    k1, b1, k2, b2, k3, b3, k4, b4, k5, b5 = weights
    x = activation(tf.nn.bias_add(tf.nn.conv2d(images, k1, 1, "SAME"), b1))
    x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
    x = activation(tf.nn.bias_add(tf.nn.conv2d(x, k2, 1, "VALID"), b2))
    x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
    x = tf.reshape(x, (len(images), -1))
    x = activation(tf.nn.bias_add(tf.matmul(x, k3), b3))
    x = activation(tf.nn.bias_add(tf.matmul(x, k4), b4))
    return tf.nn.bias_add(tf.matmul(x, k5), b5)


RAW = {
    "fcnn": (raw_fcnn, linear),
    "lenet5": (raw_lenet, tf.nn.sigmoid),
    "lenet5-like": (raw_lenet, tf.nn.relu),
}


def loss_of(logits: Any) -> Any:
    """Depends on every logit of every sample, each in its own way."""
    return tf.reduce_sum(logits * tf.reshape(tf.cos(tf.range(tf.size(logits), dtype=logits.dtype)), logits.shape))


def assert_near(values: Any, expected: Any, limit: float) -> None:
    """The difference is small beside the whole array."""
    assert values.shape == expected.shape
    assert np.linalg.norm(expected) > 0
    assert np.linalg.norm(values - expected) <= limit * np.linalg.norm(expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", RAW)
def test_logits_and_gradients_are_those_of_raw_operations(
    precision: str, name: str, shape: tuple[int, int, int]
) -> None:
    model = build_network(ModelSettings(model=name, dropout=None if name == "fcnn" else 0), shape, 10, seed=3)
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if variable.name == "bias":  # zero at first, which would hide a bias that is not added
            variable.assign(random.normal(0, 0.1, variable.shape))
    images = tf.constant(random.normal(size=(7, *shape)), precision)
    raw, activation = RAW[name]
    weights = [tf.identity(variable.value) for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = loss_of(logits)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    with tf.GradientTape() as tape:
        tape.watch(weights)
        raw_logits = raw(weights, images, activation)
        raw_loss = loss_of(raw_logits)
    raw_gradients = tape.gradient(raw_loss, weights)

    limit = {"float32": 1e-5, "float64": 1e-12}[precision]
    assert logits.dtype == precision
    assert_near(logits.numpy(), raw_logits.numpy(), limit)
    assert_near(model(images, training=False).numpy(), raw_logits.numpy(), limit)
    for gradient, raw_gradient in zip(gradients, raw_gradients, strict=True):
        assert_near(gradient.numpy(), raw_gradient.numpy(), limit)


@pytest.mark.parametrize(("name", "parameters"), [("fcnn", 7_850), ("lenet5", 61_706), ("lenet5-like", 61_706)])
def test_parameters(name: str, parameters: int) -> None:
    assert build_network(ModelSettings(model=name), (28, 28, 1), 10, seed=1).count_params() == parameters


LENET_LAYERS = ["images", "conv1", "pool1", "conv2", "pool2", "flatten", "fc1", "fc2", "logits"]


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("fcnn", ["images", "flatten", "logits"]),
        ("lenet5", LENET_LAYERS),
        ("lenet5-like", [*LENET_LAYERS[:7], "dropout1", "fc2", "dropout2", "logits"]),
    ],
)
def test_layer_names_stay_for_checkpoints_hold_them(name: str, layers: list[str]) -> None:
    model = build_network(ModelSettings(model=name), (28, 28, 1), 10, seed=1)
    assert model.name == name
    assert [layer.name for layer in model.layers] == layers
    weighted = [layer for layer in layers if layer.startswith(("conv", "fc", "logits"))]
    assert [variable.path for variable in model.variables] == [
        f"{layer}/{kind}" for layer in weighted for kind in ("kernel", "bias")
    ]


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("wider", [(0, 0), (0, 5), (5, 0)])
def test_smallest_image(name: str, wider: tuple[int, int]) -> None:
    side = NETWORKS[name].smallest_image
    shape = (side + wider[0], side + wider[1], 1)
    model = build_network(ModelSettings(model=name), shape, 10, seed=1)
    images = np.random.default_rng(0).normal(size=(2, *shape))
    one, other = model(images).numpy()
    assert np.isfinite([one, other]).all()
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("smaller", [(1, 0), (0, 1)])
def test_one_pixel_less_is_refused(name: str, smaller: tuple[int, int]) -> None:
    side = NETWORKS[name].smallest_image
    shape = (side - smaller[0], side - smaller[1], 1)
    with pytest.raises(UserError, match=f"{name} cannot take .* {shape[0]}x{shape[1]} .* {side}x{side}"):
        check_image_size(name, shape)
    with pytest.raises(UserError):
        build_network(ModelSettings(model=name), shape, 10, seed=1)


@pytest.mark.parametrize("name", ["lenet5", "lenet5-like"])
def test_one_pixel_less_leaves_nothing_to_compute_with(name: str) -> None:
    """Keras's own layers in the same places."""
    side = NETWORKS[name].smallest_image - 1
    for height, width in ((side, side + 1), (side + 1, side)):
        images = tf.zeros((1, height, width, 1))
        x = keras.layers.AveragePooling2D(2)(keras.layers.Conv2D(6, 5, padding="same")(images))
        assert tf.size(keras.layers.AveragePooling2D(2)(keras.layers.Conv2D(16, 5)(x))) == 0


@pytest.mark.parametrize("name", RAW)
def test_weights_follow_from_the_seed(name: str) -> None:
    first, again, other = (
        build_network(ModelSettings(model=name), (28, 28, 1), 10, seed).get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_weights_follow_from_the_seed_whatever_was_built_before() -> None:
    alone = build_network(ModelSettings(model="lenet5"), (28, 28, 1), 10, seed=1).get_weights()
    build_network(ModelSettings(model="fcnn"), (28, 28, 1), 10, seed=5)
    keras.random.normal((3,))
    after = build_network(ModelSettings(model="lenet5"), (28, 28, 1), 10, seed=1).get_weights()
    assert all(np.array_equal(one, two) for one, two in zip(alone, after, strict=True))


def test_dropout_setting_reaches_the_network() -> None:
    def rates(settings: ModelSettings) -> list[float]:
        layers = build_network(settings, (28, 28, 1), 10, seed=1).layers
        return [layer.rate for layer in layers if layer.name.startswith("dropout")]

    assert rates(ModelSettings(model="lenet5-like")) == [0.25, 0.25]
    assert rates(ModelSettings(model="lenet5-like", dropout=0.5)) == [0.5, 0.5]
    assert rates(ModelSettings(model="lenet5-like", dropout=0)) == []
    assert rates(ModelSettings(model="lenet5", dropout=0.5)) == [0.5, 0.5]


def test_unknown_network_names_choices_and_closest() -> None:
    with pytest.raises(UserError) as caught:
        ModelSettings(model="lenet6")
    assert str(caught.value) == (f"unknown model 'lenet6': choose one of {', '.join(NETWORKS)}. Did you mean 'lenet5'?")


def test_nothing_is_suggested_for_a_name_like_no_other() -> None:
    with pytest.raises(UserError) as caught:
        ModelSettings(model="zzz")
    assert str(caught.value) == f"unknown model 'zzz': choose one of {', '.join(NETWORKS)}."


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 2.0, float("nan"), float("inf")])
def test_dropout_out_of_range(dropout: float) -> None:
    with pytest.raises(UserError, match=r"--dropout .* is not in \[0, 1\)"):
        ModelSettings(dropout=dropout)


@pytest.mark.parametrize(("kind", "arguments"), [("Dropout", (0.5,)), ("BatchNormalization", ())])
def test_a_layer_that_would_differ_between_workers_is_refused_by_name(kind: str, arguments: tuple[float, ...]) -> None:
    images = keras.Input((8, 8, 3))
    layer = getattr(keras.layers, kind)(*arguments, name="state")
    network = keras.Model(images, keras.layers.Flatten()(layer(images)), name="mine")
    with pytest.raises(TypeError, match=f"state of mine is a {kind} of Keras, whose state would differ"):
        check_layers(network)
    check_layers(keras.Model(images, keras.layers.Dense(3)(keras.layers.Flatten()(images))))
