"""What learns, of any network, from images of nothing but noise: for tests and programs that look at steps alone."""

import numpy as np

from cnn.cluster.launchers.process import ALONE, Cores, Devices
from cnn.cluster.ranks.collectives import Cluster
from cnn.data.dataset import Dataset, Part
from cnn.learner.assembly import assemble, build_model, make_order
from cnn.learner.learner import Learner
from cnn.settings.settings import TrainingSettings, parse_settings


def one_worker() -> Cluster:
    """A worker alone that takes TensorFlow's devices and threads as they are, which other tests may have set."""
    return Cluster(ALONE, Devices(cores=Cores(pinned=None, threads=1), gpu="none", mistake=None))


def noise_learner(
    cluster: Cluster,
    *settings: object,
    side: int,
    batch: int,
    images: int | None = None,
    classes: int = 10,
    margin: int = 0,
) -> Learner:
    """Assembles what learns as training does.

    Args:
        cluster: the workers.
        settings: of training, as on the command line.
        side: pixels of a side of the images that the network gets.
        batch: samples of a step, over all ranks.
        images: samples of an epoch; two batches when None.
        classes: number of classes.
        margin: pixels by which the stored images are larger, for random crops.
    """
    shaping = parse_settings("", TrainingSettings, list(map(str, settings))).learner
    dataset = _noise(2 * batch if images is None else images, side, classes, margin)
    model = build_model(shaping, dataset)
    order = make_order(cluster, shaping, model, np.arange(len(dataset.train.labels)), batch)
    return assemble(cluster, shaping, dataset, order, model)


def _noise(count: int, side: int, classes: int, margin: int) -> Dataset:
    random = np.random.default_rng(3)
    stored = side + margin
    images = random.integers(0, 256, (count, stored, stored, 3), np.uint8)
    part = Part(images=images, labels=random.integers(0, classes, count, np.int32))
    return Dataset(
        name="noise",
        class_names=tuple(map(str, range(classes))),
        train=part,
        test=part,
        mean=(0.5,) * 3,
        standard_deviation=(0.3,) * 3,
        checksum="0",
        input_size=side if margin else None,
    )
