"""A prepared data set is copied once to a host's own disk, and read there."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.data.dataset import Dataset
from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.data.store.store_files import folder_of
from cnn.errors import UserError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def local(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNN_LOCAL_CACHE_DIR", str(tmp_path / "local"))
    return tmp_path / "local"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder, random = tmp_path / "images", np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(random.integers(0, 256, (20, 20, 3), np.uint8)).save(folder / name / f"{number}.png")
    return folder


def opened(images: Path, store: str = "raw") -> Dataset:
    return open_dataset(DataSettings(data="folder", data_dir=str(images), image_size=16, store=store))


@pytest.mark.parametrize("store", ["raw", "jpeg"])
def test_it_is_read_from_a_copy(images: Path, local: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    dataset = opened(images, store)
    assert folder_of(dataset).parent == local / "stores"
    again = opened(images, store)
    assert folder_of(again).stat().st_ino == folder_of(dataset).stat().st_ino  # not copied again
    monkeypatch.delenv("CNN_LOCAL_CACHE_DIR")
    shared = opened(images, store)
    assert folder_of(shared).parent == folder_of(shared).parents[1] / "stores" != local / "stores"
    rows = np.arange(len(shared.train.labels))
    assert np.array_equal(dataset.train.images[rows], shared.train.images[rows])
    assert np.array_equal(dataset.test.labels, shared.test.labels)
    assert (dataset.input_size, dataset.checksum) == (16, shared.checksum)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:-5]), Path.unlink])
def test_a_damaged_copy_is_made_again(images: Path, local: Path, damage: object) -> None:
    right = np.array(opened(images).train.images)
    (store,) = (path for path in (local / "stores").iterdir() if path.is_dir())
    (store.with_name(f"{store.name}.unfinished")).mkdir()  # of a process that was killed
    assert callable(damage)
    damage(store / "train_images.npy")
    assert np.array_equal(opened(images).train.images, right)
    assert [path for path in (local / "stores").iterdir() if path.is_dir()] == [store]


def test_the_cache_itself_is_not_copied(images: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_LOCAL_CACHE_DIR", str(cache))
    assert folder_of(opened(images)).parent == cache / "stores"


def test_a_folder_that_cannot_be_used_is_named_with_its_variable(images: Path, local: Path) -> None:
    local.touch()
    with pytest.raises(
        UserError, match=r"local.* cannot be used \(.*\): .* or set CNN_LOCAL_CACHE_DIR to another folder"
    ):
        opened(images)


def test_of_several_processes_one_copies(images: Path, local: Path) -> None:
    code = (
        "import logging, sys; logging.basicConfig(level=logging.INFO, format='%(message)s')\n"
        "from cnn.data.sources.registry import DataSettings, open_dataset\n"
        "open_dataset(DataSettings(data='folder', data_dir=sys.argv[1], image_size=16))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, images], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert "".join(outputs).count("copying") == 1
