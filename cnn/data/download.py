"""Getting a data set's files from where they are published."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from cnn.data.file_search import similar_names
from cnn.data.lock import take_lock
from cnn.data.source import Remote
from cnn.data.unpacking import unpack
from cnn.errors import UserError

_logger = logging.getLogger(__name__)


def fetch_missing(name: str, remote: Remote, folder: Path) -> None:
    """Downloads what the folder still needs; what is there already stays and is not checked.

    One process downloads, the others wait for it, also those of other hosts that share the folder. A file appears under
    its name when it is whole and its checksum is right.

    Args:
        name: of the data set.
        remote: what there is to download.
        folder: an existing folder.

    Raises:
        UserError: something is missing and cannot be had; says what, where, why, and what to do.
    """
    if not remote.missing(folder):
        return
    with _alone_in(folder):
        missing = remote.missing(folder)
        while missing:
            _fetch(remote, missing, folder)
            still = remote.missing(folder)
            if len(still) == len(missing):
                raise UserError(f"{folder / missing[0]} does not hold the data set {name}: remove it and start again.")
            missing = still


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Lets one process at a time download into a folder. Where nothing can be written the download itself says so."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.callback(take_lock(folder / ".lock", f"downloads into {folder}").release)
        yield


def _fetch(remote: Remote, missing: list[str], folder: Path) -> None:
    """Gets the first of the missing files, which are all named if that fails."""
    file = missing[0]
    path = folder / file
    own = not os.path.exists(path)
    if own:
        _download(remote, missing, path)
    if file.endswith((".tar.gz", ".tgz")):
        unpack(path)
        if own:
            path.unlink()


def _download(remote: Remote, missing: list[str], path: Path) -> None:
    from cnn.data.transfer import TransferError, transfer  # a tenth of a second that is needed only here

    url = remote.base_url + path.name
    _logger.info("downloading %s", url)
    try:
        transfer(url, remote.md5[path.name], path)
    except TransferError as error:
        verb, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        others = similar_names(path.parent, missing, remote.md5)
        raise UserError(
            f"{', '.join(missing)} {verb} missing in {path.parent}{others} and cannot be downloaded ({error}): "
            f"put {them} there, or use --data digits, which needs no network."
        ) from error
