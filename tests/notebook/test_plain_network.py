"""Networks by name are plain Keras models, which Keras trains."""

from pathlib import Path

import keras
import numpy as np
import pytest

import cnn
from cnn.errors import UserError
from cnn.models.registry import NETWORKS, ModelSettings, build_network
from cnn.models.stock import stock_network


@pytest.mark.parametrize("name", ["lenet5-like", "googlenet", "resnet18-32", "mobilenet"])
def test_keras_trains_what_has_layers_of_ours(name: str, tmp_path: Path) -> None:
    size = max(8, NETWORKS[name].smallest_image)
    network = cnn.network(name, classes=3, image_size=size)
    network.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    images = np.random.default_rng(1).uniform(size=(6, size, size, 3)).astype(np.float32)
    before = network.get_weights()
    network.fit(images, np.arange(6) % 3, batch_size=3, epochs=1, verbose=0)
    assert any(not np.array_equal(old, new) for old, new in zip(before, network.get_weights(), strict=True))
    probabilities = network.predict(images, verbose=0)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras").predict(images, verbose=0)
    np.testing.assert_allclose(again, probabilities, rtol=1e-5)


def test_the_initial_weights_are_those_of_training() -> None:
    network = cnn.network("resnet18-32", classes=4, image_size=16, seed=5)
    expected = build_network(ModelSettings(model="resnet18-32"), (16, 16, 3), 4, 5)
    for mine, theirs in zip(network.get_weights(), stock_network(expected).get_weights(), strict=True):
        assert np.array_equal(mine, theirs)


def test_the_loss_is_computed_from_the_logits() -> None:
    """With probabilities alone, a large logit would have the gradient 0."""
    network = cnn.network("fcnn", classes=2, image_size=1, channels=1)
    network.set_weights([np.array([[300.0, 0.0]]), np.zeros(2)])
    network.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    loss = network.train_on_batch(np.ones((1, 1, 1, 1)), np.array([1]))
    assert loss == pytest.approx(300)
    assert network.get_weights()[1].tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("resnet19", {}, "unknown model 'resnet19': .* Did you mean 'resnet1"),
        ("alexnet", {}, "alexnet cannot take images of 32x32 pixels"),
        ("fcnn", {"dropout": 0.5}, "fcnn has no dropout"),
        ("fcnn", {"classes": 0}, "classes is 0: give a whole number of at least 1"),
        ("fcnn", {"image_size": (32, 32)}, r"image_size is \(32, 32\): give a whole number"),
        ("fcnn", {"channels": "3"}, "channels is '3'"),
    ],
)
def test_mistakes(name: str, settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        cnn.network(name, **{"classes": 3, "image_size": 32, **settings})
