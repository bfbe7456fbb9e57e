"""Download of a data set's missing files."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from cnn.data.folders.file_search import similar_names
from cnn.data.source import Remote
from cnn.data.sources.unpacking import unpack
from cnn.data.store.lock import take_lock
from cnn.errors import UserError

_logger = logging.getLogger(__name__)


def fetch_missing(name: str, remote: Remote, folder: Path) -> None:
    """Downloads the files that the folder lacks; existing files stay and are not checked.

    One process downloads while all others wait, including those on other hosts that share the folder. A file gets its
    final name only once it is complete and its checksum is correct.

    Args:
        name: name of the data set.
        remote: files that can be downloaded.
        folder: existing folder.

    Raises:
        UserError: a file is missing and cannot be downloaded; the message names file, reason and remedy.
    """
    if not remote.missing(folder):
        return
    with _exclusive(folder):
        missing = remote.missing(folder)
        while missing:
            _fetch(remote, missing, folder)
            still_missing = remote.missing(folder)
            if len(still_missing) == len(missing):
                raise UserError(f"{folder / missing[0]} does not hold the data set {name}: remove it and start again.")
            missing = still_missing


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Lets one process at a time download into a folder; if no lock can be written, the download reports the error."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.callback(take_lock(folder / ".lock", f"downloads into {folder}").release)
        yield


def _fetch(remote: Remote, missing: list[str], folder: Path) -> None:
    """Downloads the first missing file unless it exists, and unpacks an archive; errors name all missing files."""
    file = missing[0]
    path = folder / file
    downloaded = not os.path.exists(path)
    if downloaded:
        _download(remote, missing, path)
    if file.endswith((".tar.gz", ".tgz")):
        unpack(path)
        if downloaded:
            path.unlink()


def _download(remote: Remote, missing: list[str], path: Path) -> None:
    from cnn.data.sources.transfer import TransferError, transfer  # only here: the import takes a tenth of a second

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
