import gzip
import io
import os
import shutil
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data.sources.unpacking import unpack
from cnn.errors import UserError
from tests.hostile import altered, examples, read_or_sentence

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
        for member in members:  # not by addfile, which misses their content
            header = member.tobuf(tar.format, tar.encoding, tar.errors)
            tar.fileobj.write(header)
            tar.offset += len(header)


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
    monkeypatch.setattr("cnn.data.sources.unpacking._MAX_UNPACKED", 400_000)
    _pack(archive, *(_member(f"data/{number}") for number in range(100)))
    assert _complaint(archive) == f"is refused since it unpacks to more than 0 GB: {REMOVE}"
    _pack(archive, *(_member(f"data/{number}") for number in range(90)))
    unpack(archive)


def test_more_than_the_disk_has_free(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn.data.sources.unpacking._MAX_UNPACKED", 10**18)
    _pack(archive, _member("data/bomb", size=10**17))
    text = _complaint(archive)
    assert text.startswith("is refused since it unpacks to more than the ")
    assert text.endswith(" GB of free space there: make room.")


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


def test_what_is_altered_in_its_midst(archive: Path) -> None:
    """The second of several blocks says that it is of a kind which there is not."""
    content = bytearray(gzip.compress(_plain(_member("data/x", size=300_000)), 0))
    second = 15 + int.from_bytes(content[11:13], "little")
    content[second] = 7
    archive.write_bytes(content)
    assert _complaint(archive).startswith("is damaged (Error -3 while decompressing data")


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


def _plain(*members: tarfile.TarInfo, form: int = tarfile.GNU_FORMAT) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form) as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return content.getvalue()


WHOLE = _plain(_member("data", tarfile.DIRTYPE), _member("data/" + "long/" * 30 + "x", size=600), _member("y", size=3))
NAMES = st.text(st.sampled_from("ab./\\\n'\u00e9\udcff"), min_size=1, max_size=12)
NAMES |= st.sampled_from(["../x", "../../x", "data/../../../x", "/x", "../archive.tar.gz"])
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE]) | st.sampled_from([*tarfile.SUPPORTED_TYPES, b"Z"])


@st.composite
def _members(draw: st.DrawFn) -> bytes:
    members = draw(st.lists(st.builds(_member, NAMES, KINDS, link=NAMES, size=st.integers(0, 600)), max_size=4))
    for member in members:
        if draw(st.booleans()):
            numbers = st.sampled_from(["nan", "1e300", "-5", "9" * 400, "1", "0", "x"])
            fields = (
                "path",
                "size",
                "mtime",
                "uid",
                "GNU.sparse.major",
                "GNU.sparse.minor",
                "GNU.sparse.size",
                "charset",
            )
            member.pax_headers = draw(st.dictionaries(st.sampled_from(fields), numbers, max_size=3))
    return _plain(*members, form=tarfile.PAX_FORMAT)


@examples(120)
@given(_members() | _members() | _members().flatmap(altered) | altered(WHOLE), st.data())
def test_any_archive_is_unpacked_beside_itself_or_is_one_sentence(
    archive: Path, content: bytes, data: st.DataObject
) -> None:
    packed = gzip.compress(content, 1, mtime=0)
    archive.write_bytes(data.draw(st.just(packed) | st.just(packed) | altered(packed)))
    if read_or_sentence(lambda: unpack(archive) or True, str(archive), UserError) is None:
        assert list(archive.parent.iterdir()) == [archive]
    assert list(archive.parents[1].iterdir()) == [archive.parent]
    assert not any(path.is_symlink() for path in archive.parent.rglob("*"))
    shutil.rmtree(archive.parent)
    archive.parent.mkdir()


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_name_of_gigabytes_is_not_read(archive: Path, kind: bytes) -> None:
    header = _member("name", kind, size=4 << 30).tobuf(tarfile.GNU_FORMAT)
    with gzip.open(archive, "wb", compresslevel=1) as file:
        file.write(header)
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        assert _complaint(archive).startswith("is refused since it has a file with headers of more th")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_names_of_names_of_names(archive: Path) -> None:
    """Python's module calls itself for each."""
    archive.write_bytes(gzip.compress(_member("name", tarfile.GNUTYPE_LONGNAME).tobuf() * 5000))
    assert _complaint(archive).startswith("is refused since it has a file with headers of more than")


@pytest.mark.parametrize(("kind", "size"), [(tarfile.REGTYPE, -512), (tarfile.GNUTYPE_SPARSE, 0)])
def test_sizes_that_are_none(archive: Path, kind: bytes, size: int) -> None:
    """By a negative one the same file would be read again and again."""
    header = _member("data/x", kind, size=size).tobuf(tarfile.GNU_FORMAT)
    archive.write_bytes(gzip.compress(header + bytes(1024)))
    by_newer_python = f"is damaged (invalid offset): {REMOVE}"
    assert _complaint(archive) in (f"is refused since 'data/x' is incomplete: {REMOVE}", by_newer_python)


def test_an_end_with_more_behind_it(archive: Path) -> None:
    """As where a header in the midst is damaged: of what follows the checksum would not be looked at."""
    archive.write_bytes(gzip.compress(_plain(_member("data/x")) + bytes(3 << 20)))
    assert _complaint(archive) == f"is damaged (it continues after its end): {REMOVE}"
