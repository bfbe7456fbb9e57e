import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from cnn.data.unpacking import unpack
from cnn.errors import UserError

REMOVE = "remove it to have it downloaded again."


@pytest.fixture
def archive(target: Path) -> Path:
    return target / "archive.tar.gz"


def _pack(archive: Path, *members: tarfile.TarInfo) -> None:
    """Packs a file that is harmless, and then these: without content, whatever their size says."""
    with tarfile.open(archive, "w:gz") as tar:
        first = tarfile.TarInfo("data/first")
        first.size = 5
        tar.addfile(first, io.BytesIO(b"first"))
        for member in members:
            tar.addfile(member)


def _member(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


def _complaint(archive: Path) -> str:
    """Why it is refused; nothing of it may be there then, neither beside it nor in the folder above."""
    before = sorted(archive.parents[1].rglob("*"))
    with pytest.raises(UserError) as caught:
        unpack(archive)
    assert sorted(archive.parents[1].rglob("*")) == before
    text = str(caught.value)
    assert text.startswith(f"{archive} ")
    assert text.endswith(".")
    assert "\n" not in text
    return text.removeprefix(f"{archive} ")


def test_files_and_folders_are_put_beside_it(archive: Path) -> None:
    _pack(archive, _member("data/folder", tarfile.DIRTYPE), _member("data/folder/second"), _member("/third"))
    unpack(archive)
    assert sorted(str(path.relative_to(archive.parent)) for path in archive.parent.rglob("*")) == [
        "archive.tar.gz", "data", "data/first", "data/folder", "data/folder/second", "third"
    ]  # fmt: skip
    assert (archive.parent / "data" / "first").read_bytes() == b"first"


def test_owners_and_rights_are_not_taken_over(archive: Path) -> None:
    file, folder = _member("data/second"), _member("data/folder", tarfile.DIRTYPE)
    for member in (file, folder):
        member.mode, member.uid, member.gid, member.uname, member.gname = 0o6777, 12345, 12345, "daemon", "daemon"
    _pack(archive, file, folder)
    unpack(archive)
    for name, mode in (("second", 0o100644), ("folder", 0o040755)):
        status = (archive.parent / "data" / name).stat()
        assert (status.st_mode, status.st_uid, status.st_gid) == (mode, os.getuid(), os.getgid())


@pytest.mark.parametrize("name", ["../outside", "data/../../outside", "data/../../../outside/x"])
def test_a_name_that_leads_out(archive: Path, name: str) -> None:
    _pack(archive, _member(name))
    assert _complaint(archive) == f"is refused since '{name}' would be written outside its folder: {REMOVE}"


@pytest.mark.parametrize("link", ["../../outside", "/etc", "first"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links(archive: Path, kind: bytes, link: str) -> None:
    _pack(archive, _member("data/link", kind, link=link))
    assert _complaint(archive) == f"is refused since 'data/link' is a link or a device: {REMOVE}"


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_devices(archive: Path, kind: bytes) -> None:
    _pack(archive, _member("data/line\nbreak", kind))
    assert _complaint(archive) == f"is refused since 'data/line\\nbreak' is a link or a device: {REMOVE}"


def test_a_bomb(archive: Path) -> None:
    _pack(archive, _member("data/bomb", size=20_000_000_001))
    assert _complaint(archive) == f"is refused since it unpacks to more than 20 GB: {REMOVE}"


def test_many_files_are_a_bomb_together(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn.data.unpacking._LARGEST", 400_000)
    _pack(archive, *(_member(f"data/{number}") for number in range(100)))
    assert _complaint(archive) == f"is refused since it unpacks to more than 0 GB: {REMOVE}"
    _pack(archive, *(_member(f"data/{number}") for number in range(90)))
    unpack(archive)


def test_more_than_the_disk_has_free(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn.data.unpacking._LARGEST", 10**18)
    _pack(archive, _member("data/bomb", size=10**17))
    text = _complaint(archive)
    assert text.startswith("is refused since it unpacks to more than the ")
    assert text.endswith(" GB that are free there: make room.")


@pytest.mark.parametrize("keep", [0, 10, 100, -9])
def test_what_is_cut_off(archive: Path, keep: int) -> None:
    _pack(archive)
    archive.write_bytes(archive.read_bytes()[:keep])
    assert _complaint(archive).startswith("is damaged (")


def test_what_is_altered(archive: Path) -> None:
    _pack(archive)
    content = bytearray(archive.read_bytes())
    content[-6] ^= 1
    archive.write_bytes(content)
    assert _complaint(archive).startswith("is damaged (CRC check failed")


def test_what_is_no_archive(archive: Path) -> None:
    for content in (b"text" * 200, gzip.compress(b"text" * 200), gzip.compress(b"")):
        archive.write_bytes(content)
        assert _complaint(archive).startswith("is damaged (")


def test_a_name_with_a_zero_byte(archive: Path) -> None:
    member = _member("data/x")
    member.pax_headers["path"] = "data/\0"
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member)
    assert _complaint(archive) == f"is damaged (embedded null byte): {REMOVE}"


def test_a_place_that_is_taken(archive: Path) -> None:
    (archive.parent / "data").mkdir()
    (archive.parent / "data" / "own").touch()
    _pack(archive)
    assert _complaint(archive) == "cannot be unpacked (Directory not empty): unpack it there yourself."
