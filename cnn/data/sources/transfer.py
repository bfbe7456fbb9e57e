"""Downloads one file from a web server, with progress, verification and resumption."""

import hashlib
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import requests

from cnn.data.store.store_files import sync
from cnn.data.store.work_progress import MEGABYTES, WorkProgress

# Seconds to wait for a connection and for the next bytes: without a network a run should fail soon.
_TIMEOUT = (10, 60)

# Bytes; the maximum loss when the connection breaks.
_CHUNK = 1 << 16


class TransferError(Exception):
    """A file cannot be downloaded; the text is the reason in a few words, without the file's name."""


def transfer(url: str, md5: str, path: Path) -> None:
    """Downloads a file, which gets its final name once it is complete and its checksum is right.

    Until then its name ends in `.part`. An interrupted download is resumed if the server supports it; if the checksum
    is wrong then, the complete file is downloaded again.

    Raises:
        TransferError: the download failed. The partial file stays for the next attempt, unless its checksum is wrong.
    """
    part = path.with_name(f"{path.name}.part")
    host = urlsplit(url).hostname
    try:
        resumed = True
        while resumed:
            resumed = _receive(url, part)
            if _has_checksum(part, md5):
                part.replace(path)
                return
            part.unlink()
        reason = f"the file from {host} has a wrong checksum and was removed"
    except requests.HTTPError as error:
        reason = f"{host} answered {str(error).partition(' for url')[0]}"
    except requests.Timeout:
        reason = f"{host} did not answer in time"
    except requests.RequestException:
        reason = f"no connection to {host}, or it was lost"
    except OSError as error:
        reason = f"the folder cannot be written: {error.strerror or error}"
    raise TransferError(reason + _resumption_note(part))


def _receive(url: str, part: Path) -> bool:
    """Downloads the rest of a partial file; returns whether it resumed one."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if done and response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return True  # no bytes follow: it is complete, or another file
        response.raise_for_status()
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:  # the server sends the complete file
            done = 0
        response.raw.headers.pop("Content-Encoding", None)  # or an archive that the server labels so would be unpacked
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        progress = WorkProgress(f"downloading {part.stem}", done=done, total=total, unit=MEGABYTES)
        try:
            with open(part, "ab" if done else "wb") as file:
                for chunk in response.iter_content(_CHUNK):
                    file.write(chunk)
                    progress.add(len(chunk))
                sync(file)
        finally:
            progress.close()
    return done > 0


def _has_checksum(path: Path, md5: str) -> bool:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == md5


def _resumption_note(part: Path) -> str:
    size = part.stat().st_size if part.is_file() else 0
    return f"; the next start resumes after {size / MEGABYTES.size:,.1f} MB" if size else ""
