"""Getting one file from a web server: shown, checked, and gone on with where an earlier try ended."""

import hashlib
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import requests

from cnn.data.store_files import sync
from cnn.data.work_progress import MEGABYTES, WorkProgress

# Seconds to wait for a connection and for the next bytes: without a network a run should say so soon.
_TIMEOUT = (10, 60)

# Bytes; what is lost at most when the connection breaks.
_CHUNK = 1 << 16


class TransferError(Exception):
    """A file cannot be had; the text says why in a few words, without naming the file."""


def transfer(url: str, md5: str, path: Path) -> None:
    """Gets a file, which has its name when it is whole and its checksum is right.

    Until then `.part` follows its name. What an interrupted try left under that name is gone on with if the server can
    do that; if the checksum is wrong then, all of it is fetched once more.

    Raises:
        TransferError: it cannot be had. What has come stays for the next try, unless its checksum is wrong.
    """
    part = path.with_name(f"{path.name}.part")
    host = urlsplit(url).hostname
    try:
        continued = True
        while continued:
            continued = _receive(url, part)
            if _has_checksum(part, md5):
                part.replace(path)
                return
            part.unlink()
        reason = f"what {host} sent has a wrong checksum and was removed"
    except requests.HTTPError as error:
        reason = f"{host} answered {str(error).partition(' for url')[0]}"
    except requests.Timeout:
        reason = f"{host} did not answer in time"
    except requests.RequestException:
        reason = f"no connection to {host}, or it broke"
    except OSError as error:
        reason = f"the folder cannot be written: {error.strerror or error}"
    raise TransferError(reason + _what_stays(part))


def _receive(url: str, part: Path) -> bool:
    """Adds what is not there yet; returns whether something was there and has stayed."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if done and response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return True  # nothing follows: it is whole, or something else
        response.raise_for_status()
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:  # the server sends all of it
            done = 0
        response.raw.headers.pop("Content-Encoding", None)  # the file as it is, also where the server calls it packed
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


def _what_stays(part: Path) -> str:
    size = part.stat().st_size if part.is_file() else 0
    return f"; the next start goes on after the {size / MEGABYTES.size:,.1f} MB that are there" if size else ""
