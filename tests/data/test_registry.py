import os
from pathlib import Path

import pytest

from cnn.data.registry import SOURCES, DataSettings, open_dataset
from cnn.errors import UserError


def test_an_unknown_name() -> None:
    with pytest.raises(UserError) as caught:
        DataSettings(data="minst")
    assert str(caught.value) == (
        "unknown data set 'minst': choose one of digits, mnist, fashion-mnist, cifar10, synthetic. "
        "Did you mean 'mnist'?"
    )


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 7, float("nan")])
def test_a_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(UserError, match=f"validation_fraction is {fraction}: it must be"):
        DataSettings(validation_fraction=fraction)


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_a_folder_for_what_needs_none(name: str) -> None:
    with pytest.raises(UserError, match=f"data_dir is '/x', but the data set {name} is not read from files"):
        DataSettings(data=name, data_dir="/x")


def test_the_default_needs_nothing() -> None:
    dataset = open_dataset(DataSettings())
    assert dataset.name == "digits"
    assert dataset.image_shape == (32, 32, 1)
    assert dataset.classes == 10


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files(idx_folder: Path, name: str) -> None:
    dataset = open_dataset(DataSettings(data=name, data_dir=str(idx_folder)))
    assert dataset.name == name
    assert dataset.image_shape == (5, 4, 1)
    assert dataset.class_names[9] == {"mnist": "9", "fashion-mnist": "Ankle boot"}[name]


def test_cifar_files(cifar_folder: Path) -> None:
    assert open_dataset(DataSettings(data="cifar10", data_dir=str(cifar_folder))).image_shape == (32, 32, 3)


def test_files_in_the_cache_are_found(idx_folder: Path, cache: Path) -> None:
    (cache / "data").mkdir(parents=True)
    idx_folder.rename(cache / "data" / "mnist")
    assert len(open_dataset(DataSettings(data="mnist")).train.labels) == 40


def test_the_folder_is_looked_at_when_the_data_set_is_opened(tmp_path: Path) -> None:
    settings = DataSettings(data="mnist", data_dir=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=f"data_dir '{tmp_path}/nowhere' does not exist on this machine: name the fold"):
        open_dataset(settings)


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is no folder"):
        open_dataset(DataSettings(data="mnist", data_dir=str(tmp_path / "file")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(UserError, match="may not be read by you"):
        open_dataset(DataSettings(data="mnist", data_dir=str(tmp_path / "closed")))


def test_damaged_files_make_no_store(idx_folder: Path, cache: Path) -> None:
    path = idx_folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte\.gz is damaged"):
        open_dataset(DataSettings(data="mnist", data_dir=str(idx_folder)))
    assert [entry.name for entry in (cache / "stores").iterdir() if entry.is_dir()] == []


def test_the_settings_name_every_source() -> None:
    """The text that becomes --help."""
    text = Path(DataSettings.__module__.replace(".", "/") + ".py")
    documented = (Path(__file__).parents[2] / text).read_text().split('"""The data set: ')[1].split(".")[0]
    assert set(documented.replace(" or ", ", ").split(", ")) == set(SOURCES)
