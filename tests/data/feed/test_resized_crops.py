"""Windows of images, resized: what is in them, and that neither threads nor neighbours change a bit."""

import numpy as np
import pytest

from cnn.data.feed import resized_crops as subject
from cnn.data.feed.resized_crops import resized_crops
from cnn.data.image_threads import ImageThreads

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (30, 24, 20, 3), np.uint8)
SIDES = RANDOM.integers(1, 19, (30, 2))
WINDOWS = np.concatenate(
    [RANDOM.integers(0, 24 - SIDES[:, :1], (30, 1)), RANDOM.integers(0, 20 - SIDES[:, 1:]), SIDES], 1
)
FLIPPED = RANDOM.random(30) < 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_a_window_of_the_wanted_size_is_cut_out_exactly(channels: int) -> None:
    pixels, windows = PIXELS[..., :channels], np.array([[4, 3, 16, 15]] * 30, np.int32)
    cut = resized_crops(pixels, windows, FLIPPED, (16, 15))
    for window, result, flipped in zip(pixels[:, 4:20, 3:18], cut, FLIPPED, strict=True):
        assert np.array_equal(result, window[:, ::-1] if flipped else window)


def test_pixels_are_interpolated_between_the_nearest_ones_of_the_window() -> None:
    ramp = np.zeros((1, 8, 8, 1), np.uint8)
    ramp[0, :, :, 0] = np.arange(8) * 20
    cut = resized_crops(ramp, np.array([[0, 2, 8, 4]]), np.array([False]), (8, 8))
    assert np.array_equal(cut[0, 0, :, 0], [40, 45, 55, 65, 75, 85, 95, 100])  # nothing of outside the window


def test_neither_threads_nor_other_images_change_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for cores in (1, 2, 5):
        monkeypatch.setattr("cnn.data.image_threads.worker_count", lambda cores=cores: cores)
        threads = ImageThreads()
        monkeypatch.setattr(subject, "_threads", lambda threads=threads: threads)
        made.append(resized_crops(PIXELS, WINDOWS, FLIPPED, (18, 21)))
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])
    for number in (0, 7, 29):
        alone = slice(number, number + 1)
        cut = resized_crops(PIXELS[alone], WINDOWS[alone], FLIPPED[alone], (18, 21))
        assert np.array_equal(cut[0], made[0][number])
