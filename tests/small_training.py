"""Small networks and data for tests of training, in this one process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from cnn.cluster.launchers.process import ALONE
from cnn.cluster.ranks.collectives import Cluster
from cnn.data.dataset import Dataset, Part
from cnn.data.feed.augmentation import AugmentationSettings
from cnn.data.feed.feed import Feed
from cnn.data.sources.registry import open_dataset
from cnn.learner.precision import use_precision
from cnn.models.registry import ModelSettings, build_network
from cnn.runs.checkpoints import CheckpointFolder
from cnn.runs.data_record import write_data
from cnn.runs.run_folder import start_folder
from cnn.runs.saved_run import SavedRun, open_run
from cnn.settings.settings import TrainingSettings, parse_settings

# Here, for it can be made only before TensorFlow computes anything.
_CLUSTER = Cluster(ALONE)
use_precision("float32")

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
def make_feed(part: Part) -> Callable[..., Feed]:
    """Gives a feed of the precision that is set, of images in memory or, with `resident_mb=0`, streamed ones."""
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

    def make(part: Part = part, resident_mb: int = 1, augmentation: AugmentationSettings | None = None) -> Feed:
        return Feed(dataset, part, keras.config.floatx(), augmentation, resident_mb=resident_mb)

    return make


@pytest.fixture
def stored(part: Part, tmp_path: Path) -> Part:
    """The part with its images in a file that is mapped, as in a store."""
    np.save(tmp_path / "images.npy", part.images)
    return Part(images=np.load(tmp_path / "images.npy", mmap_mode="r"), labels=part.labels)


@pytest.fixture
def make_network() -> Callable[..., keras.Model]:
    """Gives a network by name."""
    return lambda name="lenet5-like": build_network(ModelSettings(model=name), SHAPE, CLASSES, seed=1)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of data sets that tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make_run(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SavedRun]:
    """Makes the folder of a run, by its settings, that has not trained.

    It has checkpoints of step 5, the best, and of step 9; the variables there are larger than at first, by a little.
    """
    monkeypatch.setenv("CNN_CACHE_DIR", str(cache))

    def make(*arguments: object) -> SavedRun:
        folder = tmp_path / "run"
        settings = parse_settings("", TrainingSettings, ["--run_dir", str(folder), *map(str, arguments)])
        dataset = open_dataset(settings.data)
        start_folder(folder, settings.merged)
        write_data(folder, dataset)
        run = open_run(folder)
        initial = {f"model/{each.path}": each.value.numpy() for each in run.build_network().variables}
        for step, more in ((5, 0.01), (9, 0.02)):
            arrays = {"optimizer/count": np.zeros(1), **{name: values + more for name, values in initial.items()}}
            record = {"data_checksum": dataset.checksum, "progress": {"step": step}}
            CheckpointFolder(folder / "checkpoints").save(step, arrays, record, best=step == 5)
        return run

    return make
