"""Pictures, looked at pixel by pixel."""

import io

import numpy as np
import pytest
from PIL import Image

from cnn.monitoring.tensorboard.pictures import Picture, confusion_picture, filter_grid, image_grid


def pixels(picture: Picture) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(picture.png)))
    assert image.shape == (picture.height, picture.width, 3)
    return image


def colours(image: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in image.reshape(-1, 3).tolist()}


@pytest.mark.parametrize(("shape", "side"), [((8, 8, 3), 80), ((30, 30, 1), 90), ((224, 224, 3), 100)])
@pytest.mark.parametrize("count", [1, 2, 16])
def test_each_image_has_its_place_and_caption(shape: tuple[int, int, int], side: int, count: int) -> None:
    images = np.stack([np.full(shape, 10 * (number + 1), np.uint8) for number in range(count)])
    grid = image_grid(images, ["a\nb" if number % 2 else "c" for number in range(count)])
    image = pixels(grid)
    columns = {1: 1, 2: 2, 16: 4}[count]
    width, height = image.shape[1] // columns, image.shape[0] // -(-count // columns)
    for number in range(count):
        left, top = width * (number % columns), height * (number // columns)
        shown = image[top + 2 : top + 2 + side, left + 2 : left + 2 + side]
        assert colours(shown) == {(10 * (number + 1),) * 3}, number
        below = image[top + 2 + side : top + height, left : left + width]
        assert below.min() < 50  # black, at the edges of letters grey


def test_a_long_caption_stays_in_its_column() -> None:
    images = np.zeros((2, 8, 8, 1), np.uint8)
    short, long = (pixels(image_grid(images, [first, "b"])) for first in ("a", "a" * 100))
    assert short.shape == long.shape
    assert np.array_equal(short[:, short.shape[1] // 2 :], long[:, short.shape[1] // 2 :])
    assert not np.array_equal(short, long)


def test_names_of_files_cannot_spoil_a_picture() -> None:
    image_grid(np.zeros((1, 8, 8, 1), np.uint8), ["\udce9\x1b\u202e\t中"])
    confusion_picture(["\udce9\n", ""], np.eye(2, dtype=int))


def test_filters_use_the_full_range_each() -> None:
    kernel = np.zeros((2, 2, 1, 3))
    kernel[0, 0, 0, 0], kernel[1, 1, 0, 1] = 1e-6, -1e6
    image = pixels(filter_grid(kernel))
    side = image.shape[0] // 2
    first, second = image[1 : side - 1, 1 : side - 1], image[1 : side - 1, side + 1 : 2 * side - 1]
    half = len(first) // 2
    assert colours(first[:half, :half]) == colours(second[:half]) == {(255, 255, 255)}
    assert colours(first[half:]) == colours(second[half:, half:]) == {(0, 0, 0)}
    assert colours(image[side + 1 : -1, 1 : side - 1]) == {(0, 0, 0)}  # the third is constant


@pytest.mark.parametrize("channels", [1, 3])
def test_no_filters_are_too_many_or_not_finite(channels: int) -> None:
    kernel = np.full((7, 7, channels, 1000), np.nan, np.float32)
    assert pixels(filter_grid(kernel)).shape[0] < 1000


def test_counts_are_coloured_by_their_share_of_the_class() -> None:
    image = pixels(confusion_picture(["cats", "dogs"], np.array([[1, 0], [3000, 1000]])))
    cell = 26
    top, left = image.shape[0] - 2 * cell - 2, image.shape[1] - 2 * cell - 2
    corners = image[top + 2 :: cell, left + 2 :: cell][:2, :2]
    assert corners[0].tolist() == [[8, 48, 107], [255, 255, 255]]
    assert (corners[1, 0] < corners[1, 1]).all()
    assert (corners[1, 1] < 200).any()


@pytest.mark.parametrize("classes", [40, 41, 1000])
def test_a_matrix_of_many_classes_is_not_too_large(classes: int) -> None:
    picture = confusion_picture([f"class {label}" for label in range(classes)], np.eye(classes, dtype=int))
    assert max(picture.width, picture.height) <= 2000
    assert len(picture.png) < 500_000
