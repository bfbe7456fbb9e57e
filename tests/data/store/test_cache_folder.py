from pathlib import Path

import pytest

from cnn.data.store.cache_folder import cache_folder, explained, locked
from cnn.errors import UserError


def test_the_users_own_choice_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("CNN_CACHE_DIR")
    assert cache_folder() == tmp_path / "xdg" / "cnn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / "home" / ".cache" / "cnn"


@pytest.mark.parametrize("name", ["CNN_CACHE_DIR", "XDG_CACHE_HOME"])
def test_a_home_folder_that_is_not_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("CNN_CACHE_DIR")
    monkeypatch.setenv(name, "~nobody-of-this-name/x")
    with pytest.raises(UserError, match="set CNN_CACHE_DIR to|set it to the path of a folder"):
        cache_folder()


def test_an_error_of_the_folder_is_explained(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"x cannot be used \(No such file or directory\): .*CNN_CACHE_DIR"),
        explained(tmp_path / "x"),
    ):
        (tmp_path / "x" / "y").mkdir()


def test_the_lock_makes_its_folder_and_says_so_if_it_cannot(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "lock", "works"):
        assert (tmp_path / "new").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file cannot be used"), locked(tmp_path / "file" / "lock", "works"):
        pass


def test_an_error_under_the_lock_passes_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "lock", "works"):
        raise FileNotFoundError
