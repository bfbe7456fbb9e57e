"""How many samples of a batch belong together."""

from cnn.data.augmentation import AugmentationSettings
from cnn.models.registry import NETWORKS


def group_size(model: str, augmentation: AugmentationSettings, size: int) -> int:
    """Samples that are looked at together: `size`, or 1 unless batches are normalised or samples mixed."""
    return size if NETWORKS[model].grouped or augmentation.mixes else 1
