"""Conversion of a user's arrays to images as a run stored them."""

from typing import Any

import numpy as np
from PIL import Image

from cnn.data.images.image_file import central_square
from cnn.errors import UserError

_CHANNELS = (1, 3)


def stored_images(images: Any, shape: tuple[int, int, int]) -> np.ndarray:
    """Converts images to whole numbers from 0 to 255 and to the stored size and colours, as files are converted.

    Args:
        images: an array of one image or several, grey or RGB, or a list of arrays, whose sizes may differ.
        shape: height, width and channels of the stored images.

    Returns:
        uint8 (images, height, width, channels).

    Raises:
        UserError: the array has not the form of images, or values whose scale is unknown.
    """
    if isinstance(images, list | tuple):
        if not images:
            raise UserError("there are no images: give an array of images, or the names of files.")
        return np.concatenate([stored_images(each, shape) for each in images])
    found = _to_bytes(_with_all_axes(np.asarray(images)))
    if found.shape[1:] == shape:
        return found
    height, width, channels = shape
    if height != width and found.shape[1:3] != (height, width):
        raise UserError(
            f"the images have {found.shape[1]}x{found.shape[2]} pixels, but this network takes {height}x{width}: "
            "scale them before."
        )
    result = np.empty((len(found), *shape), np.uint8)
    for converted, image in zip(result, found, strict=True):
        converted[...] = _converted(image, height if height == width else None, grey=channels == 1)
    return result


def _with_all_axes(array: np.ndarray) -> np.ndarray:
    """The array with the axes (images, height, width, channels)."""
    if array.ndim == 4 and array.shape[-1] in _CHANNELS and array.size:
        return array
    if array.ndim == 3 and array.size:  # one image if the last axis can be colours
        return array[np.newaxis] if array.shape[-1] in _CHANNELS else array[..., np.newaxis]
    if array.ndim == 2 and array.size:
        return array[np.newaxis, ..., np.newaxis]
    raise UserError(
        f"an array of the shape {array.shape} does not hold images: give (images, height, width, channels) with 1 or 3 "
        "channels, or leave out the first or the last axis."
    )


def _to_bytes(images: np.ndarray) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "iuf":
        raise UserError(f"the images are of the type {images.dtype}: give uint8, or numbers from 0 to 255.")
    smallest, largest = images.min(), images.max()
    if not (smallest >= 0 and largest <= 255):  # also if one is NaN
        raise UserError(
            f"the images have values from {smallest:g} to {largest:g}: give numbers from 0 to 255, or fractions from 0 "
            "to 1."
        )
    if images.dtype.kind != "f" or largest > 1 or largest == 0:
        return np.asarray(np.rint(images).astype(np.uint8))
    if np.isin(images, (0, 1)).all():
        raise UserError("all values of the images are 0 or 1: if 1 means white, multiply them by 255.")
    return np.asarray(np.rint(images * 255.0).astype(np.uint8))


def _converted(image: np.ndarray, size: int | None, *, grey: bool) -> np.ndarray:
    """One image in the stored size, unless that is None, and colours."""
    pixels = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).convert("RGB")
    if size is not None and image.shape[:2] != (size, size):
        pixels = central_square(pixels, size)
    return np.asarray(pixels.convert("L"))[..., np.newaxis] if grey else np.asarray(pixels)
