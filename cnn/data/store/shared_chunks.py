"""The chunks of a preparation, shared among all processes that see its folder: ranks of a job, on any host.

A portion is a few chunks. A process that works on a portion holds its lock, and appends each finished chunk to its
record. The system releases the locks of a process that ends, so another one goes on with what is not recorded. Nobody
has to know who takes part.
"""

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from cnn.data.store.decoding import Chunk, Decoded, decode_chunks
from cnn.data.store.lock import take_lock
from cnn.data.store.store import RECORD
from cnn.data.store.store_files import sync
from cnn.from_json import from_json, parse_json

if TYPE_CHECKING:
    import filelock

# Chunks: with more of them processes would idle at the end, with fewer there would be more files.
_PORTION = 4

_Place: TypeAlias = tuple[str, int, int]
"""Part, start and stop of a chunk."""


class _Held(NamedTuple):
    """A portion that this process works on."""

    lock: "filelock.BaseFileLock"
    left: set[_Place]
    """Its chunks that are not recorded yet."""


class SharedChunks:
    """Decodes chunks together with other processes.

    Args:
        store: folder of the unfinished store.
        chunks: all chunks, the same ones in every process.
        is_valid: whether a chunk that was recorded is in the store, and its files have not changed.
    """

    def __init__(self, store: Path, chunks: list[Chunk], is_valid: Callable[[Decoded, Chunk], bool]) -> None:
        self._folder = store / RECORD
        self._chunks = {(chunk.part, chunk.start, chunk.start + len(chunk.paths)): chunk for chunk in chunks}
        places = [*self._chunks]
        self._portions = [places[first : first + _PORTION] for first in range(0, len(places), _PORTION)]
        self._is_valid = is_valid
        self._decoded: dict[_Place, Decoded] = {}
        self._held: dict[int, _Held] = {}

    def recall(self) -> int:
        """Reads all records; returns the number of images that are decoded already."""
        return sum(each.stop - each.start for number in range(len(self._portions)) for each in self._news(number))

    def decode(self, *, wait: bool) -> Generator[Decoded, None, None]:
        """Decodes what is left; yields each chunk once it is recorded, and those that others have recorded meanwhile.

        Args:
            wait: whether to wait for other processes that work on a portion, and do what they leave undone. Otherwise
                these portions are left to them.

        Raises:
            OSError: a file of the unfinished store cannot be written.
            RunError: as `decode_chunks`.
        """
        news: list[Decoded] = []
        try:
            with contextlib.closing(decode_chunks(self._left(news, wait=wait))) as results:
                for each in results:
                    self._record(each)
                    yield each
                    while news:
                        yield news.pop()
            yield from news
        finally:
            for held in self._held.values():
                held.lock.release()
            self._held.clear()

    def all_decoded(self) -> list[Decoded]:
        """All chunks, in order, once `decode` has waited for the others."""
        return [self._decoded[place] for place in self._chunks]

    def _left(self, news: list[Decoded], *, wait: bool) -> Iterator[Chunk]:
        """Takes one portion after another, and yields their chunks that are not decoded yet."""
        others: list[int] = []  # portions that other processes work on
        for number, places in enumerate(self._portions):
            news.extend(each for other in others for each in self._news(other))
            others = [other for other in others if self._undone(self._portions[other])]
            if not self._undone(places):
                continue
            if (lock := self._lock(number, wait=wait)) is None:
                others.append(number)
                continue
            news.extend(self._news(number))
            left = self._undone(places)
            if left:
                self._held[number] = _Held(lock, {*left})
                yield from (self._chunks[place] for place in left)
            else:
                lock.release()

    def _undone(self, places: list[_Place]) -> list[_Place]:
        return [place for place in places if place not in self._decoded]

    def _lock(self, number: int, *, wait: bool) -> "filelock.BaseFileLock | None":
        import filelock  # only here, as in take_lock

        path = self._folder / f"{number}.lock"
        if wait:
            return take_lock(path, "prepares a part of the images")
        lock = filelock.FileLock(path)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            return None
        return lock

    def _news(self, number: int) -> list[Decoded]:
        """The valid chunks of a portion's record that this process did not know of."""
        path = self._folder / f"{number}.jsonl"
        recorded = _read_record(path) if path.exists() else {}
        news = []
        for place in self._undone(self._portions[number]):
            chunk, each = self._chunks[place], recorded.get(place)
            if each is not None and _is_possible(each, chunk.size**2) and self._is_valid(each, chunk):
                self._decoded[place] = each
                news.append(each)
        return news

    def _record(self, decoded: Decoded) -> None:
        place = decoded.part, decoded.start, decoded.stop
        number, held = next((number, held) for number, held in self._held.items() if place in held.left)
        with open(self._folder / f"{number}.jsonl", "a", encoding="ascii") as file:
            # The first end of line is for a line that a killed process may have left incomplete.
            file.write("\n" + json.dumps(dataclasses.asdict(decoded)) + "\n")
            sync(file)
        self._decoded[place] = decoded
        held.left.remove(place)
        if not held.left:
            self._held.pop(number).lock.release()


def _read_record(path: Path) -> dict[_Place, Decoded]:
    """The recorded chunks; lines that are not complete are skipped."""
    recorded = {}
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        try:
            decoded = from_json(Decoded, parse_json(line))
        except ValueError:
            continue
        recorded[decoded.part, decoded.start, decoded.stop] = decoded
    return recorded


def _is_possible(decoded: Decoded, pixels: int) -> bool:
    """Whether pixels can have these sums, and the damaged images and the digests are those of one chunk."""
    damaged = {position for position, _ in decoded.damaged}
    values = (decoded.stop - decoded.start - len(damaged)) * pixels
    return (
        len(decoded.times) == len(decoded.digests) == decoded.stop - decoded.start
        and all(length >= 0 for length in decoded.lengths)
        and all(re.fullmatch("[0-9a-f]{32}", digest) for digest in decoded.digests)
        and len(decoded.sums) == len(decoded.squares) == 3
        and all(decoded.start <= position < decoded.stop for position in damaged)
        and all(
            total * total <= values * squares and 0 <= total <= squares <= 255 * total
            for total, squares in zip(decoded.sums, decoded.squares, strict=True)
        )
    )
