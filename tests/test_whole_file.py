import os
import stat
from pathlib import Path

from cnn.whole_file import write_whole


def test_content_and_usual_permissions_and_nothing_left_over(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    write_whole(path, b"one")
    write_whole(path, b"two")
    (tmp_path / "plain").write_bytes(b"")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_reader_of_the_old_file_keeps_it_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"old content")
    with open(tmp_path / "file", "rb") as reader:
        write_whole(tmp_path / "file", b"new")
        assert reader.read() == b"old content"
