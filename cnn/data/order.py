"""The global order of samples and each rank's share of it, as pure functions of the seed and the step."""

import copy
import dataclasses
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from cnn.keyed_random import fold32, fold64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """One rank's shares of successive global batches; every array's first axis is the step.

    The length `samples` of the second axis is the largest share that any rank has of any batch. Smaller shares, as in
    an uneven division or an epoch's last batch, are padded with samples of weight zero: every step has the same shapes.
    """

    indices: np.ndarray
    """int32 (steps, samples): indices of the images."""

    keys: np.ndarray
    """uint32 (steps, samples): keys of dropout and augmentation; 0 where the weight is 0."""

    weights: np.ndarray
    """float32 (steps, samples): 1, or 0 for padding."""

    counts: np.ndarray
    """int32 (steps,): samples of the complete global batch, without padding."""

    def part(self, first: int, last: int) -> "Plan":
        """The plan of steps `first` (inclusive) to `last` (exclusive), counted from this plan's start."""
        return Plan(**{name: values[first:last] for name, values in vars(self).items()})


class SampleOrder:
    """Visits every sample once per epoch, in an order that depends on the seed and the epoch alone.

    An epoch is cut into global batches, of which the last may be smaller. The samples are sorted by a hash of (seed,
    epoch, sample): no random generator has a state to save, and every version of numpy yields the same order.

    Args:
        samples: indices of the images to visit, shape (samples,).
        global_batch_size: samples per step over all ranks.
        seed: seed of the order and of the keys.
        group_size: samples that are processed jointly, for example by batch normalisation, and so stay on one rank: a
            batch is cut into groups, the last of which may be smaller, and a rank's share is complete groups. A larger
            size than the batch's counts as the batch's, since most of such a group would be padding.
        micro_batch_size: maximum samples that a rank processes at a time, a multiple of the group size; a plan's
            `samples` are divided into the fewest equal micro-batches within it. None: no division.
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
        """The image indices of an epoch (0, 1, ...) in its order, shape (samples,)."""
        if self._latest is None or self._latest[0] != epoch:
            hashes = fold64(self.seed, epoch, np.arange(len(self.samples)))
            self._latest = (epoch, self.samples[np.argsort(hashes, kind="stable")])
        return self._latest[1]

    def bounds(self, step: int) -> tuple[int, int, int]:
        """The epoch of a step (0, 1, ...), and its batch's first and last position there, the last exclusive."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        start = batch * self.global_batch_size
        return epoch, start, min(start + self.global_batch_size, len(self.samples))

    @property
    def group_counts(self) -> list[int]:
        """The numbers of groups that a batch may have, in ascending order: an epoch's last batch may have fewer."""
        (_, start, stop), full = self.bounds(self.steps_per_epoch - 1), self.bounds(0)[2]
        return sorted({self._groups(stop - start), self._groups(full)})

    def _groups(self, samples: int) -> int:
        return -(-samples // self.group_size)

    def width(self, world_size: int) -> int:
        """A rank's largest share of a batch in samples, padded to divide into micro-batches."""
        groups = -(-self._groups(self.bounds(0)[2]) // world_size)
        micro_batches = 1
        if self.micro_batch_size is not None:
            micro_batches = -(-groups * self.group_size // self.micro_batch_size)
        return -(-groups // micro_batches) * micro_batches * self.group_size

    def shares(self, world_size: int) -> list[int]:
        """Each rank's number of samples of a complete batch."""
        count = self.bounds(0)[2]
        bounds = [min(count, each * self.group_size) for each in rank_bounds(self._groups(count), world_size)]
        return [last - first for first, last in pairwise(bounds)]

    def plan(self, first_step: int, steps: int, rank: int, world_size: int) -> Plan:
        """One rank's plan of `steps` steps from `first_step` on."""
        width = self.width(world_size)
        indices = np.zeros((steps, width), np.int32)
        keys = np.zeros((steps, width), np.uint32)
        weights = np.zeros((steps, width), np.float32)
        counts = np.zeros(steps, np.int32)
        for row in range(steps):
            epoch, start, stop = self.bounds(first_step + row)
            count = stop - start
            bounds = rank_bounds(self._groups(count), world_size)
            first, last = (each * self.group_size for each in bounds[rank : rank + 2])
            positions = np.arange(start + first, min(start + last, stop))
            mine = len(positions)
            indices[row] = self._padded(self.epoch_indices(epoch)[positions if mine else slice(start, stop)], width)
            keys[row, :mine] = fold32(self.seed, epoch, positions)
            weights[row, :mine] = 1
            counts[row] = count
        return Plan(indices=indices, keys=keys, weights=weights, counts=counts)

    def _padded(self, samples: np.ndarray, width: int) -> np.ndarray:
        """Samples repeated until there are `width`.

        As padding they make the statistics of their group resemble its own. A partial group repeats its own samples
        only, so that what it holds does not depend on the rank.
        """
        partial = len(samples) % self.group_size
        if partial:
            samples = np.append(samples, np.resize(samples[-partial:], self.group_size - partial))
        return np.resize(samples, width)

    def coming(self, first_step: int, last_step: int, rank: int, world_size: int) -> Iterator[np.ndarray]:
        """The `indices` of one rank's plan, step by step to before `last_step`; may be consumed in another thread."""
        order = copy.copy(self)  # or the threads would overwrite each other's cached epoch
        for step in range(first_step, last_step):
            yield order.plan(step, 1, rank, world_size).indices[0]


def rank_bounds(groups: int, world_size: int) -> list[int]:
    """Where each rank's share of a batch's groups begins, and where the last one ends: `world_size` + 1 places."""
    return [groups * rank // world_size for rank in range(world_size + 1)]
