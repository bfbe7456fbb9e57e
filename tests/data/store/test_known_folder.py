"""When a folder is opened without listing its files, and when not."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn.data.dataset import Dataset
from cnn.data.sources import registry
from cnn.data.sources.folder import FOLDER
from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.data.store.preparation_progress import PreparationProgress
from cnn.errors import UserError

Noise = Callable[..., Image.Image]


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were listed. Changes count as old at once, as they are in life two seconds later."""
    found: list[Path] = []
    monkeypatch.setattr("cnn.data.store.source_record._MIN_AGE", 0)

    def index(folder: Path, **options: object) -> object:
        found.append(folder)
        return FOLDER.index(folder, **options)

    monkeypatch.setitem(registry.SOURCES, "folder", registry.ImageSource(index=index))
    return found


def _open(folder: Path, *, verify: bool = False, **settings: object) -> Dataset:
    progress = PreparationProgress()
    dataset = open_dataset(
        DataSettings(data="folder", data_dir=str(folder), image_size=8, **settings),  # type: ignore[arg-type]
        progress=progress,
        verify=verify,
    )
    progress.print_notes()
    return dataset


def test_an_unchanged_folder_is_not_listed_again(
    image_folder: Path, listed: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    (image_folder / "cat" / "1.heic").touch()
    first = _open(image_folder)
    warnings = [record.getMessage() for record in caplog.records]
    caplog.clear()
    again = _open(image_folder)
    assert len(listed) == 1
    assert (again.checksum, again.input_shape) == (first.checksum, (8, 8, 3))
    assert np.array_equal(again.train.images, first.train.images)
    assert [record.getMessage() for record in caplog.records] == warnings != []
    _open(image_folder, verify=True)
    _open(image_folder, store="jpeg")
    assert len(listed) == 3


@pytest.mark.parametrize("change", ["content", "time", "name", "link", "removed", "added", "folder"])
def test_a_changed_folder_is_listed(
    image_folder: Path, listed: list[Path], noise: Noise, tmp_path: Path, change: str
) -> None:
    path = image_folder / "dog" / "0.png"
    if change == "link":
        path.rename(tmp_path / "elsewhere.png")
        path.symlink_to(tmp_path / "elsewhere.png")
    checksum = _open(image_folder).checksum
    if change in ("content", "link"):
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        noise(7).save(path.resolve())
        os.utime(path, ns=times)
    elif change == "time":
        os.utime(path, ns=(0, 0))
    elif change == "name":
        path.rename(path.with_name("another.png"))
    elif change == "removed":
        path.unlink()
    elif change == "added":
        noise(7).save(path.with_name("more.png"))
    else:
        path.parent.rename(image_folder / "wolf")
    dataset = _open(image_folder)
    assert len(listed) == 2
    assert (dataset.checksum == checksum) == (change == "time")


def test_a_store_that_is_gone_or_damaged_is_prepared_again(image_folder: Path, listed: list[Path], cache: Path) -> None:
    checksum = _open(image_folder).checksum
    (manifest,) = cache.glob("stores/*/manifest.json")
    manifest.write_text("{}")
    assert _open(image_folder).checksum == checksum
    (record,) = cache.glob("folders/*/*.json")
    record.write_text('{"store": 1}')
    assert _open(image_folder).checksum == checksum
    assert len(listed) == 3
    assert _open(image_folder).checksum == checksum
    assert len(listed) == 3


def test_left_out_images_are_refused_there_too(image_folder: Path, listed: list[Path]) -> None:
    (image_folder / "cat" / "bad.png").write_text("no image")
    _open(image_folder, damaged="skip")
    with pytest.raises(UserError, match="1 image file cannot be used: .*bad.png"):
        _open(image_folder)
    _open(image_folder, damaged="skip")
    assert len(listed) == 1


def test_a_file_that_has_just_changed_may_change_again(
    image_folder: Path, listed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnn.data.store.source_record._MIN_AGE", 60_000_000_000)
    _open(image_folder)
    _open(image_folder)
    assert len(listed) == 2


def test_a_link_that_leads_back_ends(image_folder: Path, listed: list[Path]) -> None:
    (image_folder / "cat" / "loop").symlink_to(image_folder)
    (image_folder / "cat" / "broken").symlink_to("nowhere")
    _open(image_folder)
    _open(image_folder)
    assert len(listed) == 1
