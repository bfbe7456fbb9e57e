"""Unpacks an untrusted archive: it may write only into its own folder, and only a limited amount."""

import gzip
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cnn.data.folders.listing import shown
from cnn.errors import UserError

# Bytes; a hundred times the largest archive that can be downloaded.
_MAX_UNPACKED = 20_000_000_000

# Minimum bytes of a file on the disk, counted so that very many empty files exceed the limit, too.
_BLOCK = 4096

# Bytes; no program writes more padding after the last file.
_MAX_PADDING = 1 << 20

# Seconds; file systems have no later time.
_MAX_TIME = 1 << 32

# Bytes of a file's headers, which are read into memory at once; a long name needs some thousands.
_MAX_HEADERS = 16 << 10

_REMOVE = "remove it to have it downloaded again"


class _RefusedError(Exception):
    """An archive is not acceptable; the text completes "is refused since ..."."""


def unpack(archive: Path) -> None:
    """Unpacks an archive into a temporary folder, then moves the content beside it; nothing reads leftovers of a crash.

    Raises:
        UserError: the archive is damaged or too large, or holds anything but files and folders within its folder.
    """
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".unpacking-") as temporary:
            free = shutil.disk_usage(temporary).free
            with _Content(archive) as content, tarfile.open(fileobj=content, mode="r:") as tar:
                tar.extraction_filter = lambda member, path: member  # Python's, which would refuse other archives
                tar.extractall(temporary, members=_checked(tar, content, free))
                content.read(_MAX_PADDING)
                if content.read(1):  # at the end, gzip has verified the checksum
                    raise tarfile.ReadError("it continues after its end")
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
    except Exception as error:  # tarfile and zlib have no common class for errors of damaged archives
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> UserError:
    return UserError(f"{archive} is damaged ({' '.join(str(error).split())}): {_REMOVE}.")


class _Content(gzip.GzipFile):
    """The decompressed archive, of which at most `allowance` bytes can be read until this is set again."""

    def __init__(self, archive: Path) -> None:
        super().__init__(archive, "rb")
        self.allowance = _MAX_HEADERS

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= self.allowance:
            raise _RefusedError(f"it has a file with headers of more than {_MAX_HEADERS:,} bytes: {_REMOVE}")
        self.allowance -= size
        return super().read(size)


def _checked(tar: tarfile.TarFile, content: _Content, free: int) -> Iterator[tarfile.TarInfo]:
    """Yields each member of the archive, checked and with its owner and permissions replaced, before it is unpacked.

    It replaces Python's own filter, which Debian's Python 3.11 lacks and newer ones would use as well.
    """
    total = 0
    while True:
        content.allowance = _MAX_HEADERS
        member = tar.next()
        content.allowance = sys.maxsize
        tar.members.clear()  # type: ignore[attr-defined]  # very many members would fill the memory
        if member is None:
            return
        # Links are refused since no data set has any; without them a file's name alone says where it is written.
        if not member.isreg() and not member.isdir():
            raise _RefusedError(f"'{shown(member.name)}' is a link or a device: {_REMOVE}")
        if member.issparse() or member.size < 0:
            raise _RefusedError(f"'{shown(member.name)}' is incomplete: {_REMOVE}")
        name = os.path.normpath(member.name.lstrip("/"))
        if name.split("/")[0] == "..":
            raise _RefusedError(f"'{shown(member.name)}' would be written outside its folder: {_REMOVE}")
        member.name, member.mode = name, 0o755 if member.isdir() else 0o644
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        member.mtime = min(max(member.mtime, 0), _MAX_TIME)
        total += max(member.size, _BLOCK)
        if total > _MAX_UNPACKED:
            raise _RefusedError(f"it unpacks to more than {_MAX_UNPACKED / 1e9:,.0f} GB: {_REMOVE}")
        if total > free:
            raise _RefusedError(f"it unpacks to more than the {free / 1e9:,.1f} GB of free space there: make room")
        yield member
