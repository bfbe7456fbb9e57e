"""Model of TensorFlow's pool allocator, which hands out more bytes than are requested.

The allocator (tsl/framework/bfc_allocator.cc) takes regions of doubling size from the system, never returns them, and
serves a request with the smallest free chunk that fits. It splits the chunk only if the rest is as large as the
request, or at least 128 MiB: otherwise the request gets the complete chunk, which counts as used. With oneDNN,
TensorFlow uses this allocator on CPUs, too, for requests of at least 256 KiB.
"""

import bisect
import dataclasses

_ALIGNMENT = 256
_MAX_REST = 128 << 20
_FIRST_REGION = 2 << 20
SMALL_ON_CPU = 256 << 10
"""Smaller requests get what they ask for on CPUs."""


@dataclasses.dataclass(eq=False)
class Chunk:
    """A piece of a region, between two neighbours."""

    size: int
    address: int = 0
    before: "Chunk | None" = None
    after: "Chunk | None" = None
    is_free: bool = True


class PoolAllocator:
    """Counts the bytes that TensorFlow's allocator would use.

    Args:
        small: bytes below which a request is served exactly.
    """

    def __init__(self, small: int = SMALL_ON_CPU) -> None:
        self._small = small
        self._region = _FIRST_REGION
        self._free: list[tuple[int, int, Chunk]] = []
        self._end = 0
        self.used = self.peak = 0
        """Bytes of the chunks in use, now and at most."""

    def allocate(self, size: int) -> Chunk:
        """Serves a request of `size` bytes."""
        if size < self._small:
            chunk = Chunk(size, is_free=False)
        else:
            rounded = -(-size // _ALIGNMENT) * _ALIGNMENT
            chunk = self._find(rounded) or self._extended(rounded)
            chunk.is_free = False
        self.used += chunk.size
        self.peak = max(self.peak, self.used)
        return chunk

    def free(self, chunk: Chunk) -> None:
        """Takes a chunk back, and joins it with free neighbours."""
        self.used -= chunk.size
        if chunk.size < self._small and chunk.before is chunk.after is None:
            return
        chunk.is_free = True
        if chunk.after is not None and chunk.after.is_free:
            self._join(chunk, chunk.after)
        if chunk.before is not None and chunk.before.is_free:
            chunk, freed = chunk.before, chunk
            self._remove(chunk)
            self._merge(chunk, freed)
        self._insert(chunk)

    def _find(self, size: int) -> Chunk | None:
        """Takes the smallest free chunk of at least `size` bytes, split if TensorFlow would split it."""
        place = bisect.bisect_left(self._free, size, key=lambda entry: entry[0])
        if place == len(self._free):
            return None
        chunk = self._free.pop(place)[2]
        if chunk.size >= 2 * size or chunk.size - size >= _MAX_REST:
            rest = Chunk(chunk.size - size, chunk.address + size, chunk, chunk.after)
            if chunk.after is not None:
                chunk.after.before = rest
            chunk.after, chunk.size = rest, size
            self._insert(rest)
        return chunk

    def _extended(self, size: int) -> Chunk:
        """A chunk of a new region."""
        fitting = self._region
        while fitting < size:
            fitting *= 2
        self._region = fitting if fitting > self._region else 2 * fitting
        self._insert(Chunk(fitting, self._end))
        self._end += fitting
        chunk = self._find(size)
        assert chunk is not None
        return chunk

    def _insert(self, chunk: Chunk) -> None:
        bisect.insort(self._free, (chunk.size, chunk.address, chunk), key=lambda entry: entry[:2])

    def _remove(self, chunk: Chunk) -> None:
        del self._free[bisect.bisect_left(self._free, (chunk.size, chunk.address), key=lambda entry: entry[:2])]

    def _join(self, chunk: Chunk, following: Chunk) -> None:
        self._remove(following)
        self._merge(chunk, following)

    @staticmethod
    def _merge(chunk: Chunk, following: Chunk) -> None:
        chunk.size += following.size
        chunk.after = following.after
        if following.after is not None:
            following.after.before = chunk
