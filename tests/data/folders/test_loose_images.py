"""Which image files of no data set a user names."""

import os
import re
from pathlib import Path

import pytest

from cnn.data.folders.loose_images import list_images, printable
from cnn.data.sources.folder import FOLDER
from cnn.errors import UserError


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number}.jpg").touch()
    return tmp_path


def relative(found: list[str], folder: Path) -> list[str]:
    return [os.path.relpath(path, folder) for path in found]


def test_files_and_folders_are_listed_in_order(photographs: Path) -> None:
    (photographs / ".hidden").mkdir()
    (photographs / ".hidden" / "a.png").touch()
    (photographs / "cat" / "notes.txt").touch()
    (photographs / "picture").touch()
    found = list_images([str(photographs / "picture"), str(photographs)])
    assert relative(found, photographs) == [
        "picture", "cat/0.jpg", "cat/1.jpg", "cat/2.jpg", "dog/0.jpg", "dog/1.jpg", "dog/2.jpg",
    ]  # fmt: skip


def test_folders_are_walked_through_as_in_training(photographs: Path, caplog: pytest.LogCaptureFixture) -> None:
    (photographs / "cat" / "@eaDir").mkdir()
    (photographs / "cat" / "@eaDir" / "0.jpg").touch()
    (photographs / "cat" / "1.HEIC").touch()
    (photographs / "cat" / "loop").symlink_to(photographs)
    (photographs / "dog" / "elsewhere").symlink_to(photographs / "cat")
    (photographs / "dog" / "linked.jpg").symlink_to(photographs / "cat" / "0.jpg")
    index = FOLDER.index(photographs)
    found = list_images([str(photographs / "cat"), str(photographs / "dog")])
    assert relative(found, photographs) == sorted(file.path for file in index.train + index.test)
    (record,) = caplog.records
    (note,) = (note for note in index.notes if note.startswith("not used in "))
    assert record.getMessage() == f"warning: not used: {note.partition(': ')[2]}"


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "1.heic").touch()
    with pytest.raises(UserError, match=r"holds no image files but files of unsupported types \(.heic: 1\): name"):
        list_images([str(tmp_path)])


def test_what_is_named_twice_is_listed_once(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photographs)
    absolute = str(photographs / "dog" / "2.jpg")
    found = list_images(["dog/1.jpg", "./dog/1.jpg", "dog", ".", absolute])
    assert found == ["dog/1.jpg", "dog/0.jpg", "dog/2.jpg", "cat/0.jpg", "cat/1.jpg", "cat/2.jpg"]


def test_links_are_followed_but_not_for_ever(photographs: Path) -> None:
    (photographs / "cat" / "back").symlink_to(photographs)
    (photographs / "elsewhere").mkdir()
    (photographs / "elsewhere" / "link").symlink_to(photographs / "dog")
    found = list_images([str(photographs / "elsewhere"), str(photographs / "cat")])
    assert relative(found, photographs) == [
        *(f"elsewhere/link/{number}.jpg" for number in range(3)),
        *(f"cat/{number}.jpg" for number in range(3)),
        *(f"cat/back/dog/{number}.jpg" for number in range(3)),
        *(f"cat/back/elsewhere/link/{number}.jpg" for number in range(3)),
    ]


def test_a_list_names_files_and_folders(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photographs)
    strange = os.fsdecode(b"caf\xe9 1.jpg")
    Path(strange).touch()
    Path("@own.jpg").touch()
    Path("list.txt").write_bytes(b"\xef\xbb\xbfdog/1.jpg\r\n\ncat\n" + os.fsencode(strange))
    found = list_images(["@list.txt", "@own.jpg"])
    assert found == ["dog/1.jpg", "cat/0.jpg", "cat/1.jpg", "cat/2.jpg", strange, "@own.jpg"]
    with pytest.raises(UserError, match="the list none.txt cannot be read .No such file"):
        list_images(["@none.txt"])
    Path("list.txt").write_bytes(b"\n")
    with pytest.raises(UserError, match="names no images"):
        list_images(["@list.txt"])


def test_what_is_not_there_is_named(photographs: Path) -> None:
    with pytest.raises(UserError, match="not found: .*/3.jpg; name image files"):
        list_images([str(photographs), str(photographs / "cat" / "3.jpg")])
    with pytest.raises(UserError, match=re.escape("*.png (a pattern that matches no file, so that the shell")):
        list_images([str(photographs / "*.png")])
    with pytest.raises(UserError, match="x9, and 15 more; name"):
        list_images([f"{photographs}/x{number}" for number in range(25)])
    with pytest.raises(UserError, match=r"not found: x{200}\.\.\."):
        list_images(["x" * 500])


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{re.escape(str(tmp_path))} holds no image files"):
        list_images([str(tmp_path)])


def test_names_that_are_no_text_can_be_told() -> None:
    assert printable(os.fsdecode(b"caf\xe9/\xc3\xa9.png")) == "caf\\xe9/é.png"
