"""Small networks and data for tests of training, in this one process."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest

from cnn.cluster.collectives import Cluster
from cnn.cluster.launch import ALONE
from cnn.data.dataset import Dataset, Part
from cnn.data.feed import ResidentFeed
from cnn.models.registry import ModelSettings, build_network
from cnn.training.step import use_precision

# Here, for it can be made only before TensorFlow computes anything.
_CLUSTER = Cluster(ALONE)

SHAPE, CLASSES, SAMPLES = (12, 12, 1), 4, 250


@pytest.fixture
def cluster() -> Cluster:
    """A cluster of one."""
    return _CLUSTER


@pytest.fixture
def part() -> Part:
    random = np.random.default_rng(5)
    labels = random.integers(0, CLASSES, SAMPLES, np.int32)
    images = random.integers(0, 200, (SAMPLES, *SHAPE)) + 10 * labels[:, np.newaxis, np.newaxis, np.newaxis]
    return Part(images=images.astype(np.uint8), labels=labels)


@pytest.fixture
def float64() -> Iterator[str]:
    """What is built in the test computes in float64."""
    use_precision("float64")
    yield "float64"
    use_precision("float32")


@pytest.fixture
def make_feed(part: Part) -> Callable[[], ResidentFeed]:
    """Gives a feed of the precision that is set."""
    names = tuple(map(str, range(CLASSES)))
    dataset = Dataset(
        name="noise",
        class_names=names,
        train=part,
        test=part,
        mean=(0.5,),
        standard_deviation=(0.25,),
        checksum="0",
    )
    return lambda: ResidentFeed(dataset, part, keras.config.floatx())


@pytest.fixture
def make_network() -> Callable[..., keras.Model]:
    """Gives a network by name."""
    return lambda name="lenet5-like": build_network(ModelSettings(model=name), SHAPE, CLASSES, seed=1)
