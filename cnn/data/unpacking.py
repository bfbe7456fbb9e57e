"""Unpacking an archive, which is not trusted: it writes beside itself or nowhere, and no more than is sensible."""

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
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
            with gzip.open(archive) as content, tarfile.open(fileobj=content, mode="r:") as tar:
                tar.extractall(temporary, members=_checked(tar, free))
                content.read(_PADDING)  # what follows is the checksum, which is compared
            for entry in Path(temporary).iterdir():
                entry.replace(archive.parent / entry.name)
    except _RefusedError as error:
        raise UserError(f"{archive} is refused since {error}.") from None
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{archive} is damaged ({error}): {_REMOVE}.") from error
    except OSError as error:
        raise UserError(
            f"{archive} cannot be unpacked ({error.strerror or error}): unpack it there yourself."
        ) from error


def _checked(tar: tarfile.TarFile, free: int) -> Iterator[tarfile.TarInfo]:
    """What is in the archive, each thing before it is unpacked; of its owner and rights nothing is left.

    Python's own filter, which Debian's 3.11 lacks, is not needed.
    """
    total = 0
    for member in tar:
        # Links, too, for none of the data sets has any; without them a name says where its file goes.
        if not member.isreg() and not member.isdir():
            raise _RefusedError(f"'{shown(member.name)}' is a link or a device: {_REMOVE}")
        name = os.path.normpath(member.name.lstrip("/"))
        if name.split("/")[0] == "..":
            raise _RefusedError(f"'{shown(member.name)}' would be written outside its folder: {_REMOVE}")
        member.name, member.mode = name, 0o755 if member.isdir() else 0o644
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        total += max(member.size, _BLOCK)
        if total > _LARGEST:
            raise _RefusedError(f"it unpacks to more than {_LARGEST / 1e9:,.0f} GB: {_REMOVE}")
        if total > free:
            raise _RefusedError(f"it unpacks to more than the {free / 1e9:,.1f} GB that are free there: make room")
        yield member
