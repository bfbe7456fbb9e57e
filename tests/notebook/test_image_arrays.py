"""Arrays become the images that files with the same pixels become."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.data.images.image_chunks import read_images
from cnn.errors import UserError
from cnn.notebook.image_arrays import stored_images

COLOUR, GREY = (16, 16, 3), (16, 16, 1)


@pytest.fixture
def photographs() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (3, 40, 30, 3), np.uint8)


@pytest.mark.parametrize("shape", [COLOUR, GREY])
@pytest.mark.parametrize("source", ["colour", "grey"])
def test_an_array_is_what_its_file_is(
    photographs: np.ndarray, tmp_path: Path, shape: tuple[int, int, int], source: str
) -> None:
    pixels = photographs if source == "colour" else photographs[..., 0]
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    [chunk] = read_images(paths, shape, 3)
    assert np.array_equal(stored_images(pixels, shape), chunk.images)
    assert np.array_equal(stored_images(pixels[1], shape), chunk.images[1:2])
    assert np.array_equal(stored_images([pixels[0], pixels[2]], shape), chunk.images[::2])


def test_images_of_the_stored_shape_stay_as_they_are(photographs: np.ndarray) -> None:
    assert np.array_equal(stored_images(photographs, (40, 30, 3)), photographs)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.uint16])
def test_the_type_does_not_matter(photographs: np.ndarray, kind: type) -> None:
    assert np.array_equal(stored_images(photographs.astype(kind), (40, 30, 3)), photographs)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_fractions_are_noticed(photographs: np.ndarray, kind: type) -> None:
    fractions = (photographs / 255).astype(kind)
    fractions[1] = fractions[1].round()  # one image of zeros and ones does not change the scale
    found = stored_images(fractions, (40, 30, 3))
    assert np.array_equal(found[::2], photographs[::2])
    assert set(found[1].ravel()) == {0, 255}


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.array([[[-1.0, 1.0]]]), "values from -1 to 1: give numbers from 0 to 255, or fractions from 0 to 1"),
        (np.array([[0, 4096]]), "values from 0 to 4096"),
        (np.array([[0.5, np.nan]]), "values from nan to nan"),
        (np.array([[0.0, 1.0]]), "all values of the images are 0 or 1: .* multiply them by 255"),
        (np.zeros((2, 2), bool), "of the type bool"),
        (np.array("cat"), r"of the shape \(\) does not hold images"),
        (np.zeros((2, 8, 8, 4)), r"of the shape \(2, 8, 8, 4\) does not hold images: .* with 1 or 3 channels"),
        (np.zeros((0, 8, 8, 3)), r"\(0, 8, 8, 3\) does not hold"),
        ([], "there are no images"),
    ],
)
def test_what_is_no_image_is_refused(images: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        stored_images(images, COLOUR)


def test_a_network_for_images_that_are_not_square_takes_no_other_size() -> None:
    with pytest.raises(UserError, match="the images have 8x8 pixels, but this network takes 40x30"):
        stored_images(np.zeros((8, 8)), (40, 30, 1))
