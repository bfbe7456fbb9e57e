"""Getting a data set's files from where they are published."""

import logging
import tarfile
import tempfile
import zlib
from pathlib import Path
from urllib.parse import urlsplit

from cnn.data.cache_folder import cache_folder, locked
from cnn.data.source import Remote
from cnn.errors import UserError

# Seconds to wait for a connection and for the next bytes: without a network a run should say so soon.
_TIMEOUT = (10, 60)


def fetch_missing(name: str, remote: Remote, folder: Path) -> None:
    """Downloads what the folder still needs; what is there already stays and is not checked.

    One process of the machine downloads, the others wait for it. A file appears under its name when it is whole and
    its checksum is right.

    Args:
        name: of the data set.
        remote: what there is to download.
        folder: an existing folder.

    Raises:
        UserError: something is missing and cannot be had; says what, where, why, and what to do.
    """
    if not remote.missing(folder):
        return
    with locked(cache_folder() / "data" / f"{name}.lock"):
        missing = remote.missing(folder)
        while missing:
            _fetch(remote, missing, folder)
            still = remote.missing(folder)
            if len(still) == len(missing):
                raise UserError(f"{folder / missing[0]} does not hold the data set {name}: remove it and start again")
            missing = still


def _fetch(remote: Remote, missing: list[str], folder: Path) -> None:
    """Gets the first of the missing files, which are all named if that fails."""
    file = missing[0]
    path = folder / file
    own = not path.exists()
    if own:
        reason = _download(remote.base_url + file, remote.md5[file], path)
        if reason:
            verb, them = ("is", "it") if len(missing) == 1 else ("are", "them")
            raise UserError(
                f"{', '.join(missing)} {verb} missing in {folder} and cannot be downloaded ({reason}): "
                f"put {them} there, or use --data digits, which needs no network"
            )
    if file.endswith((".tar.gz", ".tgz")):
        _unpack(path)
        if own:
            path.unlink()


def _download(url: str, md5: str, path: Path) -> str | None:
    """Returns why it failed, in few words, or None."""
    import pooch
    import requests

    logging.getLogger(__name__).info("downloading %s", url)
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(progressbar=False, timeout=_TIMEOUT)
    host = urlsplit(url).hostname
    try:
        pooch.retrieve(url, known_hash=f"md5:{md5}", fname=path.name, path=path.parent, downloader=downloader)
    except ValueError:
        return f"what {host} sent has a wrong checksum and was removed"
    except requests.HTTPError as error:
        return f"{host} answered {str(error).partition(' for url')[0]}"
    except requests.Timeout:
        return f"{host} did not answer in time"
    except requests.RequestException:
        return f"no connection to {host}, or it broke"
    except OSError as error:
        return f"the folder cannot be written: {error.strerror or error}"
    return None


def _unpack(archive: Path) -> None:
    """Puts the archive's content beside it; what a crash leaves has another name and is never read."""
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".unpacking-") as temporary:
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
            for entry in Path(temporary).iterdir():
                entry.replace(archive.parent / entry.name)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{archive} is damaged ({error}): remove it to have it downloaded again") from error
    except OSError as error:
        raise UserError(
            f"{archive} cannot be unpacked ({error.strerror or error}): unpack it there yourself"
        ) from error
