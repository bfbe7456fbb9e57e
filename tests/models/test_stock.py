"""The same network in Keras's own layers."""

import json
from collections.abc import Iterator

import keras
import numpy as np
import pytest

from cnn.learner.precision import use_precision
from cnn.models.registry import ModelSettings, build_network
from cnn.models.stock import stock_network


@pytest.fixture
def float64() -> Iterator[None]:
    use_precision("float64")
    yield
    use_precision("float32")


def trained(name: str, shape: tuple[int, int, int]) -> keras.Model:
    """A network none of whose weights is one that Keras begins with."""
    network = build_network(ModelSettings(model=name), shape, 4, seed=3)
    random = np.random.default_rng(4)
    for variable in network.variables:
        if len(variable.shape) == 1:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return network


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("fcnn", (8, 8, 1)),
        ("lenet5", (28, 28, 1)),
        ("lenet5-like", (17, 15, 3)),
        ("googlenet", (65, 65, 3)),
        ("mobilenet", (33, 32, 3)),
        ("resnet18-32", (16, 16, 3)),
    ],
)
def test_it_computes_the_same_without_our_layers(float64: None, name: str, shape: tuple[int, int, int]) -> None:
    network = trained(name, shape)
    images = 5 * np.random.default_rng(5).normal(size=(3, *shape))
    expected = network(images, training=False)
    expected = np.asarray(expected[0] if isinstance(expected, list) else expected)
    stock = stock_network(network)
    np.testing.assert_allclose(np.asarray(stock(images)), expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert "cnn." not in json.dumps(stock.get_config(), default=str)


def test_mixed_precision_stays_what_it_is() -> None:
    use_precision("mixed_bfloat16")
    try:
        network = trained("resnet18-32", (16, 16, 3))
        stock = stock_network(network)
    finally:
        use_precision("float32")
    images = np.random.default_rng(5).normal(size=(3, 16, 16, 3)).astype(np.float32)
    expected, got = (np.asarray(each(images, training=False), np.float64) for each in (network, stock))
    np.testing.assert_allclose(got, expected, rtol=0, atol=0.02 * np.abs(expected).max())
    assert str(stock(images).dtype) == "<dtype: 'bfloat16'>"
