"""Synthetic images: a pattern of coloured squares for each class, mixed with noise."""

import dataclasses

import numpy as np

from cnn.data.dataset import Dataset, Part
from cnn.data.source import EmbeddedSource, RawDataset
from cnn.keyed_random import fold64

_SEED = 20260101
_CLASSES = 10
_SHAPE = (32, 32, 3)
_SQUARE = 8
_TRAIN, _TEST = 2000, 500

# Purposes of random bytes.
_PATTERN, _TRAIN_NOISE, _TEST_NOISE = range(3)


def read() -> RawDataset:
    """2,000 training and 500 test images, 32x32x3, of ten classes of equal size."""
    height, width, channels = _SHAPE
    squares = _bytes(_PATTERN, (_CLASSES, height // _SQUARE, width // _SQUARE, channels))
    patterns = squares.repeat(_SQUARE, axis=1).repeat(_SQUARE, axis=2)
    return RawDataset(
        class_names=tuple(f"pattern {label}" for label in range(_CLASSES)),
        train=_part(patterns, _TRAIN, _TRAIN_NOISE),
        test=_part(patterns, _TEST, _TEST_NOISE),
    )


def _part(patterns: np.ndarray, samples: int, purpose: int) -> Part:
    labels = (np.arange(samples) % _CLASSES).astype(np.int32)
    noise = _bytes(purpose, (samples, *_SHAPE))
    # A quarter pattern, three quarters noise; in integers, so that every machine makes the same images.
    images = (patterns[labels].astype(np.uint16) + 3 * noise.astype(np.uint16)) // 4
    return Part(images=images.astype(np.uint8), labels=labels)


def _bytes(purpose: int, shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    words = fold64(_SEED, purpose, np.arange(-(-count // 8)))
    return words.astype("<u8").view(np.uint8)[:count].reshape(shape)


def enlarged(dataset: Dataset, size: int) -> Dataset:
    """The data set with images of size x size pixels, by nearest-neighbour enlargement."""
    nearest = np.arange(size) * _SHAPE[0] // size

    def part(original: Part) -> Part:
        return Part(images=original.images[:, nearest][:, :, nearest], labels=original.labels)

    return dataclasses.replace(
        dataset, train=part(dataset.train), test=part(dataset.test), checksum=f"{dataset.checksum}-{size}"
    )


SYNTHETIC = EmbeddedSource(read=read, any_size=True)
