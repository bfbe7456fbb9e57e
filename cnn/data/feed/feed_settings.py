"""Settings of the way from stored images to batches."""

import dataclasses

from cnn.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeedSettings:
    """Images in memory."""

    resident_mb: int | None = None
    """Maximum size in megabytes of the training or the test images that each worker keeps in its device's memory: by
    default 2048, or a quarter of a GPU's free memory. Larger sets are read ahead from the disk, with the same results.
    0 keeps none."""

    def __post_init__(self) -> None:
        if self.resident_mb is not None and self.resident_mb < 0:
            raise UserError(f"resident_mb is {self.resident_mb}: it must be 0 or more megabytes, for example 2048.")
