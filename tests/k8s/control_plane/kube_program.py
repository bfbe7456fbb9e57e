"""Kubernetes as one program, built from the Go module proxy, and what else a cluster on this machine needs."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock

from cnn.data.store.cache_folder import cache_folder

_SOURCES = Path(__file__).parent / "kube"
_VERSION_PACKAGE = "k8s.io/component-base/version"
_NETWORK_PLUGINS = Path("/usr/lib/cni")
_PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "runc": "runc",
}
"""The programs that a cluster needs, and Debian's packages that have them."""


def missing(*, node: bool) -> str:
    """What this machine lacks for a control plane, or for one with a node; empty if nothing."""
    if os.geteuid() != 0:
        return "root's rights"
    if shutil.which("go") is None:
        return "Go 1.24 or newer on PATH (https://go.dev/dl)"
    programs = _PACKAGES if node else ("ip", "nsenter", "openssl")
    packages = {_PACKAGES[program] for program in programs if shutil.which(program) is None}
    if node and not (_NETWORK_PLUGINS / "bridge").exists():
        packages.add("containernetworking-plugins")
    return f"more of Debian (apt install {' '.join(sorted(packages))})" if packages else ""


def build_programs() -> Path:
    """The folder of the programs `kube` and `pause`, which is kept in the cache folder for the next time.

    The first build takes 12 minutes of processor time, and Go's cache grows by 3.2 GB. RuntimeError if it fails.
    """
    sources = sorted(path for path in _SOURCES.rglob("*") if path.is_file())
    digest = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in sources)).hexdigest()
    folder = cache_folder() / "control-plane" / digest[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
                _build(Path(unfinished) / "bin")
                (Path(unfinished) / "bin").rename(folder)
    return folder


def _build(folder: Path) -> None:
    match = re.search(r"^\tk8s\.io/kubernetes v((\d+)\.(\d+)\.\d+)$", (_SOURCES / "go.mod").read_text(), re.MULTILINE)
    assert match, "go.mod names no version of Kubernetes"
    # Without these, the parts call themselves v0.0.0 and refuse each other's versions.
    values = {"gitVersion": f"v{match[1]}", "gitMajor": match[2], "gitMinor": match[3]}
    flags = ["-s", "-w", *(f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in values.items())]
    options = ("-trimpath", "-buildvcs=false", "-ldflags", " ".join(flags), "-o", f"{folder}/")
    done = subprocess.run(
        ["go", "build", *options, ".", "./pause"],
        cwd=_SOURCES, env={**os.environ, "CGO_ENABLED": "0"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"Kubernetes could not be built in {_SOURCES}: {done.stderr[-2000:]}")
