"""The data of a training run, checked against its network and its workers."""

from cnn.cluster.ranks.collectives import Cluster
from cnn.data.dataset import Dataset, Division
from cnn.data.feed.augmentation import Augmentation
from cnn.data.sources.registry import open_dataset
from cnn.errors import UserError
from cnn.models.registry import check_image_size
from cnn.settings.settings import TrainingSettings


def open_training_data(cluster: Cluster, settings: TrainingSettings, division: Division) -> Dataset:
    """Opens the data set; checks that it fits the network and is the same on every rank.

    Args:
        cluster: the workers.
        settings: the run's settings.
        division: the rule by which image files are divided into parts.
    """
    with cluster.shared_errors():
        dataset = cluster.done_everywhere(lambda: open_dataset(settings.data, division=division))
        check_image_size(settings.model.model, dataset.input_shape)
        Augmentation(settings.augmentation, dataset.image_shape, dataset.input_shape)
    checksums = cluster.gather(dataset.checksum)
    for rank, checksum in enumerate(checksums):
        if checksum != checksums[0]:
            raise UserError(
                f"the data of rank {rank} (on {cluster.peers[rank][0]}) differs from that of rank 0 (on "
                f"{cluster.peers[0][0]}): put the same files of '{settings.data.data}' on every host.",
                agreed=True,
            )
    return dataset
