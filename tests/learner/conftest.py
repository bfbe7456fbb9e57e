"""The fixtures of small trainings, and a network as one adds it."""

import sys
import types
from collections.abc import Callable

import keras
import pytest

from cnn.models.blocks import classifier, convolution
from cnn.models.registry import NETWORKS, Network
from tests.small_training import cache, cluster, float64, make_feed, make_network, make_run, part, stored  # noqa: F401


@pytest.fixture
def add_scratch(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Adds the network "scratch", a file and a row that say nothing of groups; with or without batch normalisation."""

    def build(image_shape: tuple[int, int, int], classes: int, *, normalised: bool) -> keras.Model:
        images = keras.Input(image_shape, name="images")
        x = convolution(images, 4, 3, normalised=normalised, name="conv1")
        return keras.Model(images, classifier(x, classes, 0, units=()), name="scratch")

    def add(normalised: bool) -> None:
        module = types.ModuleType("cnn.models.scratch")
        module.build = build  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        row = Network(family="scratch", options={"normalised": normalised}, smallest_image=1)
        monkeypatch.setitem(NETWORKS, "scratch", row)

    return add
