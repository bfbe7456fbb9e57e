"""Reading image files a few at a time."""

import contextlib
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.data.folders.loose_images import list_images
from cnn.data.images.decoding_pool import MAX_WITHOUT_POOL
from cnn.data.images.image_chunks import read_images
from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.errors import RunError, UserError

SHAPE = (16, 16, 3)


def save(path: Path, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def read(paths: list[Path], shape: tuple[int, int, int]) -> np.ndarray:
    return np.concatenate([chunk.images for chunk in read_images([*map(str, paths)], shape, 2)])


@pytest.fixture
def many(tmp_path: Path) -> tuple[list[str], np.ndarray]:
    """More files than are read without other processes, and their pixels; every seventh is no image."""
    paths, images = [], []
    for number in range(MAX_WITHOUT_POOL + 20):
        paths.append(str(tmp_path / f"{number:03}.png"))
        if number % 7 == 3:
            Path(paths[-1]).write_text("no image")
        else:
            images.append(save(Path(paths[-1]), SHAPE, number))
    return paths, np.stack(images)


@pytest.mark.parametrize("count", [MAX_WITHOUT_POOL, MAX_WITHOUT_POOL + 20])
def test_chunks_come_in_order_whoever_reads_them(many: tuple[list[str], np.ndarray], count: int) -> None:
    paths, images = many[0][:count], many[1]
    chunks = [*read_images(paths, SHAPE, 5)]
    assert len(chunks) == -(-count // 5)
    sound = [path for chunk in chunks for path in chunk.paths]
    damaged = [path for chunk in chunks for path, _ in chunk.damaged]
    assert damaged == paths[3::7]
    assert sound == [path for path in paths if path not in damaged]
    assert np.array_equal(np.concatenate([chunk.images for chunk in chunks]), images[: len(sound)])
    assert {reason for chunk in chunks for _, reason in chunk.damaged} == {"a text file"}


def test_no_process_outlives_the_reading(many: tuple[list[str], np.ndarray]) -> None:
    with contextlib.closing(read_images(many[0], SHAPE, 5)) as chunks:
        next(chunks)
        assert multiprocessing.active_children()
    assert not multiprocessing.active_children()


def test_a_killed_process_is_told(many: tuple[list[str], np.ndarray]) -> None:
    with contextlib.closing(read_images(many[0] * 9, SHAPE, 5)) as chunks:
        next(chunks)
        os.kill(int(str(multiprocessing.active_children()[0].pid)), signal.SIGKILL)
        with pytest.raises(
            RunError, match="a process that decodes images was killed .* free some memory and start again"
        ):
            list(chunks)


def test_little_is_read_before_it_is_asked_for(many: tuple[list[str], np.ndarray], tmp_path: Path) -> None:
    paths = [str(tmp_path / f"copy{number:03}.png") for number in range(300)]
    save(Path(paths[0]), SHAPE)
    for path in paths[1:]:
        os.link(paths[0], path)
    with contextlib.closing(read_images(paths, SHAPE, 2)) as chunks:
        next(chunks)
        for path in paths[200:]:
            Path(path).unlink()
        rest = [*chunks]
    assert [path for chunk in rest for path, _ in chunk.damaged] == paths[200:]
    assert rest[-1].damaged[0][1] == "cannot be decoded: No such file or directory"


def test_they_are_what_the_store_of_a_data_set_holds(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cat", "dog"):
        for number in range(3):
            save(tmp_path / name / f"{number}.jpg", (90 + number, 120, 3), number + len(name))
    monkeypatch.setenv("CNN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    dataset = open_dataset(DataSettings(data="folder", data_dir=str(tmp_path), image_size=64))
    assert dataset.image_shape == (73, 73, 3)
    images = read([Path(path) for path in list_images([str(tmp_path)])], dataset.image_shape)
    stored = np.concatenate([dataset.train.images, dataset.test.images])
    assert sorted(image.tobytes() for image in images) == sorted(image.tobytes() for image in stored)


def test_grey_stays_what_it_is_and_colours_become_grey(tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.png", (28, 28))
    colours = save(tmp_path / "colours.png", (28, 28, 3))
    images = read([tmp_path / "grey.png", tmp_path / "colours.png"], (28, 28, 1))
    assert np.array_equal(images[0, :, :, 0], grey)
    np.testing.assert_allclose(images[1, :, :, 0], colours @ [0.299, 0.587, 0.114], atol=0.51)
    assert np.array_equal(read([tmp_path / "grey.png"], (28, 28, 3))[0], np.stack([grey] * 3, 2))


def test_only_squares_are_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="image files are only read as squares, not 28x20"):
        next(read_images([str(tmp_path / "any.png")], (28, 20, 1), 2))
