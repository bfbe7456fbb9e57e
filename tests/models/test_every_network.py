"""What holds for every network of the table, a new one too."""

from collections.abc import Iterator

import keras
import numpy as np
import pytest

from cnn.models.batch import TrainingBatch, training_on
from cnn.models.layer_table import layer_rows
from cnn.models.registry import NETWORKS, ModelSettings, build_network, check_layers, looks_at_groups
from cnn.models.stock import stock_layer, stock_network


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Iterator[keras.Model]:
    side = NETWORKS[request.param].smallest_image
    yield build_network(ModelSettings(model=request.param), (side, side, 3), 5, seed=1)


def logits(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """In training, of groups of four samples."""
    count = len(images)
    keys, weights = np.arange(count, dtype=np.uint32) % 8, np.ones(count, np.float32)
    batch = TrainingBatch(keys=keys, weights=weights, count=count, group_size=4)
    with training_on(batch):
        outputs = network(images, training=True)
    return np.asarray(outputs[0] if isinstance(outputs, list) else outputs)


def test_a_sample_depends_on_others_of_its_group_only_if_a_layer_declares_it(network: keras.Model) -> None:
    images = np.random.default_rng(1).normal(size=(8, *network.input_shape[1:])).astype(np.float32)
    changed = images.copy()
    changed[1] = changed[1, ::-1] + 1
    before, after = np.split(logits(network, np.concatenate([images, changed])), 2)
    change = np.abs(after - before).max(axis=1) / np.abs(before).max()
    assert change[1] > 1e-4
    assert (change[[0, 2, 3]] > 1e-4).all() == looks_at_groups(network)
    assert (change[[0, 2, 3]] < 1e-5).all() == (not looks_at_groups(network))
    assert (change[4:] < 1e-5).all()


def test_every_layer_can_be_exported_counted_and_divided_among_workers(network: keras.Model) -> None:
    check_layers(network)
    assert sum(row.parameters for row in layer_rows(network)) > 0
    for layer in network.layers:
        assert type(stock_layer(layer)).__module__.startswith("keras.")


def test_layers_with_weights_are_ours(network: keras.Model) -> None:
    """The gradients of Keras's own come in an order that delays their exchange, and may be arbitrary in bfloat16."""
    keras_s = {
        layer.name for layer in network.layers if layer.weights and not type(layer).__module__.startswith("cnn.")
    }
    assert keras_s == set()


def test_what_is_exported_computes_the_same(network: keras.Model) -> None:
    images = np.random.default_rng(2).normal(size=(3, *network.input_shape[1:])).astype(np.float32)
    outputs = network(images, training=False)
    expected = np.asarray(outputs[0] if isinstance(outputs, list) else outputs)
    got = np.asarray(stock_network(network)(images))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
