"""The global sequence of samples, and each rank's part of it: pure functions of the seed and the step."""

import copy
import dataclasses
from collections.abc import Iterator

import numpy as np

from cnn.keyed_random import fold32, fold64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """One rank's part of some successive global batches; every array's first axis is the step.

    The second axis is `samples`, the largest part that any rank has of any batch. A smaller part (a rank's of an
    uneven division, all of an epoch's last batch) is filled up with samples of weight zero, so that every step has
    the same shapes.
    """

    indices: np.ndarray
    """int32 (steps, samples): which image."""

    keys: np.ndarray
    """uint32 (steps, samples): what dropout and augmentation are keyed by; 0 where the weight is."""

    weights: np.ndarray
    """float32 (steps, samples): 1, or 0 for a sample that only fills up."""

    counts: np.ndarray
    """int32 (steps,): real samples of the whole global batch."""

    def part(self, first: int, last: int) -> "Plan":
        """The plan of the steps from `first` to before `last`, counted from this plan's start."""
        return Plan(**{name: values[first:last] for name, values in vars(self).items()})


class SampleOrder:
    """Visits every sample once an epoch, in an order that follows from the seed and the epoch alone.

    An epoch is cut into global batches; its last one holds what is left. The order is that of a hash of
    (seed, epoch, sample), so that it needs no generator's state and is the same in every version of numpy.

    Args:
        samples: indices of the images to visit, shape (samples,).
        global_batch_size: samples of a step, over all ranks.
        seed: of the order and of the keys.
        group_size: samples that are looked at together (by batch normalisation, for example) and so are never divided
            between ranks: a batch is cut into groups, of which the last may be smaller, and a rank takes whole ones. No
            group is larger than a batch, or most of it would be computed for nothing.
        micro_batch_size: most samples that a rank computes at once, whole groups; a plan's `samples` then divide into
            the fewest equal pieces that are no larger. None: all at once.
    """

    def __init__(
        self,
        samples: np.ndarray,
        global_batch_size: int,
        seed: int,
        group_size: int = 1,
        micro_batch_size: int | None = None,
    ) -> None:
        self.samples = samples
        self.global_batch_size = global_batch_size
        self.seed = seed
        self.group_size = max(1, min(group_size, global_batch_size, len(samples)))
        self.micro_batch_size = micro_batch_size
        self._latest: tuple[int, np.ndarray] | None = None

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.samples) // self.global_batch_size)

    def epoch_indices(self, epoch: int) -> np.ndarray:
        """The images of an epoch (0, 1, ...) in their order, shape (samples,)."""
        if self._latest is None or self._latest[0] != epoch:
            hashes = fold64(self.seed, epoch, np.arange(len(self.samples)))
            self._latest = (epoch, self.samples[np.argsort(hashes, kind="stable")])
        return self._latest[1]

    def bounds(self, step: int) -> tuple[int, int, int]:
        """The epoch that a step (0, 1, ...) is in, and the first and one past the last position of its batch."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        start = batch * self.global_batch_size
        return epoch, start, min(start + self.global_batch_size, len(self.samples))

    def _groups(self, samples: int) -> int:
        return -(-samples // self.group_size)

    def width(self, world_size: int) -> int:
        """The largest part of a batch, in samples, filled up so that it divides into micro-batches."""
        groups = -(-self._groups(min(self.global_batch_size, len(self.samples))) // world_size)
        pieces = 1
        if self.micro_batch_size is not None:
            pieces = -(-groups * self.group_size // self.micro_batch_size)
        return -(-groups // pieces) * pieces * self.group_size

    def plan(self, first_step: int, steps: int, rank: int, world_size: int) -> Plan:
        """What one rank does in the steps from `first_step` on."""
        width = self.width(world_size)
        indices = np.zeros((steps, width), np.int32)
        keys = np.zeros((steps, width), np.uint32)
        weights = np.zeros((steps, width), np.float32)
        counts = np.zeros(steps, np.int32)
        for row in range(steps):
            epoch, start, stop = self.bounds(first_step + row)
            count = stop - start
            first, last = (self._groups(count) * each // world_size * self.group_size for each in (rank, rank + 1))
            positions = np.arange(start + first, min(start + last, stop))
            mine = len(positions)
            # What fills up repeats real samples, so that it is no stranger to the statistics of its group.
            indices[row] = np.resize(self.epoch_indices(epoch)[positions if mine else slice(start, stop)], width)
            keys[row, :mine] = fold32(self.seed, epoch, positions)
            weights[row, :mine] = 1
            counts[row] = count
        return Plan(indices=indices, keys=keys, weights=weights, counts=counts)

    def coming(self, first_step: int, last_step: int, rank: int, world_size: int) -> Iterator[np.ndarray]:
        """The `indices` of one rank's plan, step by step, to before `last_step`; another thread may draw from it."""
        own = copy.copy(self)  # or the two threads would take the latest epoch's order from each other
        for step in range(first_step, last_step):
            yield own.plan(step, 1, rank, world_size).indices[0]
