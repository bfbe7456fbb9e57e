"""Docker itself, and the image of the real Dockerfile."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .docker_pods import docker

_ROOT = Path(__file__).parents[2]
_BASE = "cnn-test-base:bookworm-slim"
_IMAGE = "cnn-test:latest"
_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_LEFT_OUT = ("doc", "groff", "info", "linda", "lintian", "locale", "man")
"""Folders of /usr/share that Debian's slim images do not have."""

_SECONDS_TO_START = 60
_SECONDS_TO_BUILD = 1800


@contextlib.contextmanager
def running_docker() -> Iterator[str | None]:
    """Docker for the code inside; gives why there is none, if so."""
    if _answers():
        yield None
        return
    lacking = [name for name in ("docker", "dockerd", "debootstrap") if shutil.which(name) is None]
    if lacking or os.geteuid() != 0:
        need = f"{', '.join(lacking)} (Debian: apt install docker.io debootstrap)" if lacking else "root's rights"
        yield f"containers on this machine need {need}"
        return
    with tempfile.TemporaryFile() as log:
        daemon = subprocess.Popen(["dockerd"], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + _SECONDS_TO_START
            while not _answers() and daemon.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    daemon.wait(timeout=0.2)
            yield None if _answers() else "dockerd does not start on this machine"
        finally:
            daemon.terminate()
            daemon.wait()


def _answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def build_image() -> str:
    """Builds the image; layers that are built already are kept. Gives its name."""
    if not docker("images", "--quiet", _BASE):
        _make_base()
    docker(
        "build", "--network", "host", "--build-arg", f"BASE={_BASE}", "--tag", _IMAGE, str(_ROOT),
        seconds=_SECONDS_TO_BUILD,
    )  # fmt: skip
    return _IMAGE


def _make_base() -> None:
    """Debian 12 as slim as the base image that the Dockerfile names, with the certificates that this machine trusts."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        subprocess.run(
            ["debootstrap", "--variant=minbase", "bookworm", str(root)], stdout=subprocess.DEVNULL, check=True
        )
        for name in _LEFT_OUT:
            shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
        paths = "".join(f"path-exclude /usr/share/{name}/*\n" for name in _LEFT_OUT)
        (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(paths)
        for folder in ("var/cache", "var/lib/apt/lists", "var/log"):
            for path in (root / folder).rglob("*"):
                if path.is_file():
                    path.unlink()
        if _CERTIFICATES.is_dir():
            shutil.copytree(_CERTIFICATES, root / _CERTIFICATES.relative_to("/"), dirs_exist_ok=True)
        archive = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
        subprocess.run(["docker", "import", "-", _BASE], stdin=archive.stdout, stdout=subprocess.DEVNULL, check=True)
        assert archive.wait() == 0
