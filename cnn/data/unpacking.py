"""Unpacking an archive, which is not trusted: it writes beside itself or nowhere, and no more than is sensible."""

import gzip
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cnn.data.listing import shown
from cnn.errors import UserError

# Bytes; a hundred times the largest archive that can be downloaded.
_LARGEST = 20_000_000_000

# Bytes that a file takes on the disk at least, so that very many empty ones are too large together.
_BLOCK = 4096

# Bytes; no program writes more of them behind the last file.
_PADDING = 1 << 20

# Seconds; file systems have no later time.
_LATEST = 1 << 32

# Bytes before a file that tell of it; a long name needs some thousands. They are read into memory whole.
_HEADERS = 16 << 10

_REMOVE = "remove it to have it downloaded again"


class _RefusedError(Exception):
    """The text says what the archive does, as "is refused since ..."."""


def unpack(archive: Path) -> None:
    """Puts an archive's content beside it when all of it is unpacked; what a crash leaves is never read.

    Raises:
        UserError: it is damaged or too large, or holds something else than files and folders that stay in its folder.
    """
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".unpacking-") as temporary:
            free = shutil.disk_usage(temporary).free
            with _Content(archive) as content, tarfile.open(fileobj=content, mode="r:") as tar:
                tar.extractall(temporary, members=_checked(tar, content, free))
                content.read(_PADDING)
                if content.read(1):  # else the checksum follows, which is compared
                    raise tarfile.ReadError("there is more behind its end")
            for entry in Path(temporary).iterdir():
                entry.replace(archive.parent / entry.name)
    except _RefusedError as error:
        raise UserError(f"{archive} is refused since {error}.") from None
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise _damaged(archive, error) from error
        raise UserError(
            f"{archive} cannot be unpacked ({error.strerror or error}): unpack it there yourself."
        ) from error
    except Exception as error:  # tarfile and zlib have no common class for what other bytes make them raise
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> UserError:
    return UserError(f"{archive} is damaged ({' '.join(str(error).split())}): {_REMOVE}.")


class _Content(gzip.GzipFile):
    """What is in the archive, of which so much is given at a time as `most` allows."""

    def __init__(self, archive: Path) -> None:
        super().__init__(archive, "rb")
        self.most = _HEADERS

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= self.most:
            raise _RefusedError(
                f"it has a name, or what else tells of a file, of more than {_HEADERS:,} bytes: {_REMOVE}"
            )
        self.most -= size
        return super().read(size)


def _checked(tar: tarfile.TarFile, content: _Content, free: int) -> Iterator[tarfile.TarInfo]:
    """What is in the archive, each thing before it is unpacked; of its owner and rights nothing is left.

    Python's own filter, which Debian's 3.11 lacks, is not needed.
    """
    total = 0
    while True:
        content.most = _HEADERS
        member = tar.next()
        content.most = sys.maxsize
        tar.members.clear()  # type: ignore[attr-defined]  # very many of them would fill the memory
        if member is None:
            return
        # Links, too, for none of the data sets has any; without them a name says where its file goes.
        if not member.isreg() and not member.isdir():
            raise _RefusedError(f"'{shown(member.name)}' is a link or a device: {_REMOVE}")
        if member.issparse() or member.size < 0:
            raise _RefusedError(f"'{shown(member.name)}' is not there whole: {_REMOVE}")
        name = os.path.normpath(member.name.lstrip("/"))
        if name.split("/")[0] == "..":
            raise _RefusedError(f"'{shown(member.name)}' would be written outside its folder: {_REMOVE}")
        member.name, member.mode = name, 0o755 if member.isdir() else 0o644
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        member.mtime = min(max(member.mtime, 0), _LATEST)
        total += max(member.size, _BLOCK)
        if total > _LARGEST:
            raise _RefusedError(f"it unpacks to more than {_LARGEST / 1e9:,.0f} GB: {_REMOVE}")
        if total > free:
            raise _RefusedError(f"it unpacks to more than the {free / 1e9:,.1f} GB that are free there: make room")
        yield member
