"""The data of a training run, checked against its network, its batches and its workers."""

from cnn.cluster.collectives import Cluster
from cnn.data.augmentation import Augmentation
from cnn.data.dataset import Dataset, Division
from cnn.data.registry import open_dataset
from cnn.errors import UserError
from cnn.models.registry import check_image_size
from cnn.training.groups import group_size
from cnn.training.settings import TrainingSettings


def _group_size(settings: TrainingSettings) -> int:
    return group_size(settings.model.model, settings.augmentation, settings.run.group_size)


def _check_micro_batches(settings: TrainingSettings) -> None:
    size, group = settings.run.micro_batch_size, _group_size(settings)
    if size is not None and size % group:
        raise UserError(
            f"--micro_batch_size {size} is no multiple of --group_size {group}, within which batches are normalised or "
            f"samples mixed: give {-(-size // group) * group}, or another group size."
        )


def open_training_data(cluster: Cluster, settings: TrainingSettings, division: Division) -> Dataset:
    """The data set, checked against the network and the number of workers; the same on every rank.

    Args:
        cluster: the workers.
        settings: all of them.
        division: by what image files are divided into parts.
    """
    with cluster.together():
        dataset = cluster.done_everywhere(lambda: open_dataset(settings.data, division=division))
        check_image_size(settings.model.model, dataset.input_shape)
        Augmentation(settings.augmentation, dataset.image_shape, dataset.input_shape)
        _check_micro_batches(settings)
        groups = -(-settings.run.global_batch_size // _group_size(settings))
        if groups < cluster.world_size:
            size = _group_size(settings)
            part = "sample" if size == 1 else f"group of {size} samples"
            smaller = "" if size == 1 else " a smaller --group_size,"
            raise UserError(
                f"--global_batch_size {settings.run.global_batch_size} is too small for {cluster.world_size} workers: "
                f"each needs at least one {part}, so give a larger batch,{smaller} or start fewer workers."
            )
    checksums = cluster.gather(dataset.checksum)
    with cluster.together():
        for rank, checksum in enumerate(checksums):
            if checksum != checksums[0]:
                raise UserError(
                    f"the data of rank {rank} (on {cluster.peers[rank][0]}) is not that of rank 0 (on "
                    f"{cluster.peers[0][0]}): put the same files of '{settings.data.data}' on every host."
                )
    return dataset
