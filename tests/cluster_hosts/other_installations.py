"""Hosts on which something of the project, or of its data, is not as on the others."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from .hosts import ROOT, Host, Hosts


@contextlib.contextmanager
def other_code(host: Host, scratch: Path) -> Iterator[None]:
    """Meanwhile a file of the package has one more comment there."""
    copy = scratch / "cnn"
    shutil.copytree(ROOT / "cnn", copy, ignore=shutil.ignore_patterns("__pycache__"))
    with open(copy / "errors.py", "a") as file:
        file.write("# mine\n")
    with host.sees(copy, ROOT / "cnn"):
        yield


@contextlib.contextmanager
def other_version(host: Host, scratch: Path) -> Iterator[None]:
    """Meanwhile NumPy says there that it is of another version."""
    metadata = next(ROOT.glob(".venv/lib/python*/site-packages/numpy-*.dist-info/METADATA"))
    lines = metadata.read_text().splitlines(keepends=True)
    changed = scratch / "METADATA"
    changed.write_text("".join("Version: 2.3.9\n" if line.startswith("Version: ") else line for line in lines))
    with host.sees(changed, metadata):
        yield


@contextlib.contextmanager
def other_data(hosts: Hosts, name: str, scratch: Path) -> Iterator[Path]:
    """Gives a folder of images of which one is another one on that host, which prepares data in a place of its own."""
    here, there, cache = scratch / "images", scratch / "others", scratch / "cache"
    cache.mkdir()
    for folder, odd in ((here, 0), (there, 255)):
        for number in range(20):
            image = folder / "ab"[number % 2] / f"{number}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((16, 16), odd if number == 7 else number, np.uint8)).save(image)
    with hosts[name].sees(there, here), hosts[name].sees(cache, hosts.cache):
        yield here
