"""Talks to a server of its own on this machine, and to nothing else."""

import dataclasses
import hashlib
import io
import os
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from cnn.data.source import FolderSource, ImageSource, Remote
from cnn.data.sources.cifar import CIFAR10
from cnn.data.sources.download import fetch_missing
from cnn.data.sources.idx import MNIST
from cnn.data.sources.oxflower17 import OXFLOWER17
from cnn.errors import UserError

from ..conftest import FileServer

ARCHIVE = "cifar-10-binary.tar.gz"


def _remote(source: FolderSource | ImageSource, server: FileServer, published: Path) -> Remote:
    """The source's remote, but on our server and with the checksums of what is published there."""
    assert source.remote is not None
    md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in published.iterdir()}
    return dataclasses.replace(source.remote, base_url=server.url, md5={**source.remote.md5, **md5})


def _publish_cifar(cifar_folder: Path, published: Path) -> None:
    with tarfile.open(published / ARCHIVE, "w:gz") as tar:
        tar.add(cifar_folder / "cifar-10-batches-bin", "cifar-10-batches-bin")


def _names(folder: Path) -> list[str]:
    """What is there besides the lock."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_only_missing_files_are_downloaded(idx_folder: Path, published: Path, server: FileServer, target: Path) -> None:
    for path in idx_folder.iterdir():
        (published / path.name).write_bytes(path.read_bytes())
    own = target / "t10k-labels-idx1-ubyte.gz"
    own.write_bytes(b"the user's own")
    fetch_missing("mnist", _remote(MNIST, server, published), target)
    assert own.read_bytes() == b"the user's own"
    assert len(server.asked) == 3
    for path in published.iterdir():
        assert path.name == own.name or (target / path.name).read_bytes() == path.read_bytes()
    assert len(_names(target)) == 4


def test_nothing_is_asked_where_nothing_is_missing(idx_folder: Path, published: Path, server: FileServer) -> None:
    fetch_missing("mnist", _remote(MNIST, server, published), idx_folder)
    assert server.asked == []


def test_a_wrong_checksum(idx_folder: Path, published: Path, server: FileServer, target: Path) -> None:
    for path in idx_folder.iterdir():
        (published / path.name).write_bytes(path.read_bytes())
    remote = _remote(MNIST, server, published)
    (published / "train-images-idx3-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"cannot be downloaded \(the file from 127.0.0.1 has a wrong checksum and was"):
        fetch_missing("mnist", remote, target)
    assert _names(target) == []


def test_what_the_server_does_not_have(published: Path, server: FileServer, target: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetch_missing("cifar10", _remote(CIFAR10, server, published), target)
    assert str(caught.value) == (
        f"{ARCHIVE} is missing in {target} and cannot be downloaded (127.0.0.1 answered 404 Client Error: "
        "File not found): put it there, or use --data digits, which needs no network."
    )
    assert _names(target) == []


def test_an_interrupted_download_is_gone_on_with(
    cifar_folder: Path, published: Path, server: FileServer, target: Path
) -> None:
    _publish_cifar(cifar_folder, published)
    remote = _remote(CIFAR10, server, published)
    content = (published / ARCHIVE).read_bytes()
    (target / f"{ARCHIVE}.part").write_bytes(content[:100])
    server.breaks_off_at = 100
    with pytest.raises(UserError) as caught:
        fetch_missing("cifar10", remote, target)
    assert str(caught.value) == (
        f"{ARCHIVE} is missing in {target} and cannot be downloaded (no connection to 127.0.0.1, or it was lost; the "
        "next start resumes after 0.0 MB): put it there, or use --data digits, which needs no network."
    )
    server.breaks_off_at = None
    fetch_missing("cifar10", remote, target)
    assert _names(target) == ["cifar-10-batches-bin"]
    assert server.asked == [f"/{ARCHIVE} bytes=100-"] * 2


def test_no_server(published: Path, server: FileServer, target: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        remote = dataclasses.replace(
            _remote(MNIST, server, published), base_url=f"http://127.0.0.1:{closed.getsockname()[1]}/"
        )
        with pytest.raises(UserError) as caught:
            fetch_missing("mnist", remote, target)
    text = str(caught.value)
    assert text.startswith("train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, t10k-")
    assert f"are missing in {target} and cannot be downloaded (no connection to 127.0.0.1, or it was lost): put" in text


def test_an_archive_is_unpacked_and_removed(
    cifar_folder: Path, published: Path, server: FileServer, target: Path
) -> None:
    _publish_cifar(cifar_folder, published)
    fetch_missing("cifar10", _remote(CIFAR10, server, published), target)
    assert _names(target) == ["cifar-10-batches-bin"]
    assert len(CIFAR10.read(target).train.labels) == 40


def test_an_archive_by_the_other_name(published: Path, server: FileServer, target: Path) -> None:
    with tarfile.open(published / "17flowers.tgz", "w:gz") as tar:
        for name in ("jpg/image_0001.jpg", "jpg/files.txt"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    fetch_missing("oxflower17", _remote(OXFLOWER17, server, published), target)
    assert _names(target) == ["jpg"]
    assert _names(target / "jpg") == ["files.txt", "image_0001.jpg"]


def test_the_users_own_archive_is_unpacked_and_kept(
    cifar_folder: Path, published: Path, server: FileServer, target: Path
) -> None:
    _publish_cifar(cifar_folder, target)
    fetch_missing("cifar10", _remote(CIFAR10, server, published), target)
    assert _names(target) == ["cifar-10-batches-bin", ARCHIVE]
    assert server.asked == []


@pytest.mark.parametrize("linked", ["nothing", "x" * 300])
def test_a_link_to_nothing_is_no_archive(
    cifar_folder: Path, published: Path, server: FileServer, target: Path, linked: str
) -> None:
    """Or to what cannot be looked at, as below a folder that may not be entered."""
    _publish_cifar(cifar_folder, published)
    (target / ARCHIVE).symlink_to(linked)
    fetch_missing("cifar10", _remote(CIFAR10, server, published), target)
    assert _names(target) == ["cifar-10-batches-bin"]


def test_an_archive_of_something_else(published: Path, server: FileServer, target: Path) -> None:
    with tarfile.open(target / ARCHIVE, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("readme"), io.BytesIO())
    with pytest.raises(UserError, match=f"{ARCHIVE} does not hold the data set cifar10"):
        fetch_missing("cifar10", _remote(CIFAR10, server, published), target)


def test_hosts_that_share_a_folder_download_once_and_quietly(
    cifar_folder: Path, published: Path, server: FileServer, target: Path, tmp_path: Path
) -> None:
    """A host is a process with a cache of its own."""
    _publish_cifar(cifar_folder, published)
    remote = _remote(CIFAR10, server, published)
    program = (
        "import dataclasses, pathlib, sys; from cnn.data.sources.cifar import CIFAR10; "
        "from cnn.data.sources.download import fetch_missing; url, md5, target = sys.argv[1:]; "
        f"remote = dataclasses.replace(CIFAR10.remote, base_url=url, md5={{'{ARCHIVE}': md5}}); "
        "fetch_missing('cifar10', remote, pathlib.Path(target))"
    )
    command = [sys.executable, "-c", program, remote.base_url, remote.md5[ARCHIVE], str(target)]
    running = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "CNN_CACHE_DIR": str(tmp_path / f"host{host}")},
        )
        for host in range(3)
    ]
    assert [process.communicate(timeout=60)[0] for process in running] == [b"", b"", b""]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert server.asked == [f"/{ARCHIVE}"]
