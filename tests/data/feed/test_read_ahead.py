"""Blocks read in a thread: which ones, how many of them, and what becomes of errors and of the thread."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cnn.data.feed.read_ahead import ReadAhead, StoredImages
from cnn.errors import RunError

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3), np.uint8)
LONG = 60.0
"""Seconds that nothing here comes near, except what is broken."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "images.npy", IMAGES)
    return tmp_path / "images.npy"


def block(number: int) -> np.ndarray:
    return (np.array([3, 5, 7], np.int32) * number) % 50


def blocks() -> Iterator[np.ndarray]:
    """Blocks of three without end."""
    return map(block, itertools.count())


@pytest.mark.parametrize("kind", ["file", "view of a file", "transposed file", "memory"])
def test_images_are_those_of_the_array(file: Path, kind: str) -> None:
    mapped = np.load(file, mmap_mode="r")
    images = {
        "file": mapped,
        "view of a file": mapped[7:],
        "transposed file": mapped.swapaxes(1, 2),
        "memory": IMAGES,
    }[kind]
    indices = np.array([42, 0, 0, 7], np.int32)
    read = StoredImages(images).read(indices)
    assert read.dtype == np.uint8
    assert np.array_equal(read, np.array(images)[indices])


def test_a_file_of_columns(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.asfortranarray(IMAGES))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert np.array_equal(StoredImages(images).read(np.array([3, 49])), IMAGES[[3, 49]])


@pytest.mark.parametrize("samples", [0, 6, 30])
def test_blocks_come_in_order_and_a_bounded_number_is_read_before(samples: int) -> None:
    most = max(2, samples // 3)
    done = threading.Semaphore(0)
    taken, started, too_many = 0, 0, []

    def read(indices: np.ndarray) -> np.ndarray:
        nonlocal started
        started += 1
        if started - taken > most:
            too_many.append((started, taken))
        done.release()
        return IMAGES[indices]

    reader = ReadAhead(read, blocks(), samples)
    ahead, new = 2, 2
    for number in range(40):
        for _ in range(new):  # before the next is asked for
            assert done.acquire(timeout=LONG)
        taken += 1
        ahead, new = min(ahead + 1, most), min(2, most - ahead + 1)
        assert np.array_equal(reader.take(block(number)), IMAGES[block(number)])
    reader.close()
    assert too_many == []


def test_little_is_asked_for_behind_the_end_even_if_much_may_be_read_before() -> None:
    asked = 0

    def coming() -> Iterator[np.ndarray]:
        nonlocal asked
        yield from (block(number) for number in range(3))
        while True:
            asked += 1
            yield block(3)

    reader = ReadAhead(IMAGES.__getitem__, coming(), 10**6)
    for number in range(3):
        reader.take(block(number))
    reader.close()
    assert asked <= 5


def test_only_the_next_block_may_be_taken() -> None:
    reader = ReadAhead(IMAGES.__getitem__, iter([block(0), block(1)]), 100)
    reader.take(block(0))
    with pytest.raises(ValueError, match="not the next one"):
        reader.take(block(2))
    for _ in range(2):  # behind the last
        with pytest.raises(ValueError, match="not the next one"):
            reader.take(block(2))
    reader.close()


def test_a_file_that_gets_shorter_is_told_when_its_images_are_due(file: Path) -> None:
    images = StoredImages(np.load(file, mmap_mode="r"))
    with open(file, "r+b") as shortened:
        shortened.truncate(128 + 10 * IMAGES[0].nbytes + 1)
    reader = ReadAhead(images.read, iter([np.array([0, 9]), np.array([3, 10]), np.array([1, 2])]), 100)
    assert np.array_equal(reader.take(np.array([0, 9])), IMAGES[[0, 9]])
    with pytest.raises(RunError) as caught:
        reader.take(np.array([3, 10]))
    assert str(caught.value) == (
        f"{file} can no longer be read (it has become shorter): check the disk that holds it, then start again with "
        "--resume."
    )
    reader.close()


def test_a_file_that_is_gone(file: Path) -> None:
    images = np.load(file, mmap_mode="r")
    still_open = StoredImages(images)
    file.unlink()
    with pytest.raises(RunError, match=r"images.npy can no longer be read \(No such file or directory\)"):
        StoredImages(images)
    assert np.array_equal(still_open.read(np.array([5])), IMAGES[[5]])


def test_what_the_sequence_raises_is_raised_to_who_takes() -> None:
    def coming() -> Iterator[np.ndarray]:
        yield block(0)
        raise KeyError("mistake")

    reader = ReadAhead(IMAGES.__getitem__, coming(), 100)
    reader.take(block(0))
    with pytest.raises(KeyError, match="mistake"):
        reader.take(block(1))
    reader.close()


def test_the_thread_ends_when_it_is_closed() -> None:
    reader = ReadAhead(IMAGES.__getitem__, blocks(), 100)
    names = [thread.name for thread in threading.enumerate()]
    assert any(name.startswith("read-ahead") for name in names)
    reader.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("read-ahead") for name in names)


def test_the_thread_keeps_no_process_alive() -> None:
    program = (
        "import itertools, numpy as np\n"
        "from cnn.data.feed.read_ahead import ReadAhead\n"
        "reader = ReadAhead(lambda indices: indices, itertools.repeat(np.zeros(1)), 1000)\n"
        "reader.take(np.zeros(1))\n"
        "raise SystemExit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], timeout=LONG, check=False)
    assert done.returncode == 7
