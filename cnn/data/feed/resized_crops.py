"""Crops that are resized on a processor, by OpenCV: several times as fast as TensorFlow's operation."""

import functools

import numpy as np

from cnn.data.image_block import new_block
from cnn.data.image_threads import ImageThreads


def resized_crops(pixels: np.ndarray, windows: np.ndarray, flipped: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cuts a window out of each image and resizes it, by linear interpolation in integers.

    Args:
        pixels: uint8 (samples, height, width, channels).
        windows: int32 (samples, 4): first row, first column, rows and columns of each window.
        flipped: bool (samples,): whether the result is mirrored left to right.
        size: rows and columns of the result.

    Returns:
        uint8 (samples, *size, channels), whatever the number of threads.
    """
    cut = new_block((len(pixels), *size, pixels.shape[3]))
    _threads().share(_resize, pixels, windows, flipped, cut)
    return cut


@functools.cache
def _threads() -> ImageThreads:
    return ImageThreads()


def _resize(pixels: np.ndarray, windows: np.ndarray, flipped: np.ndarray, cut: np.ndarray) -> None:
    import cv2  # only here: it takes a quarter of a second

    cv2.setNumThreads(1)  # an image is too small to be shared among threads
    for image, (top, left, rows, columns), mirrored, result in zip(
        pixels, windows.tolist(), flipped.tolist(), cut, strict=True
    ):
        window = image[top : top + rows, left : left + columns]
        resized = cv2.resize(window, result.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        if mirrored:
            resized = cv2.flip(resized, 1)
        result[...] = resized.reshape(result.shape)
