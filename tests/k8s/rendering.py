"""Manifests as kubectl renders them."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
K8S = Path(__file__).parents[2] / "k8s"
FOLDERS = ("overlays/cpu", "overlays/gpu", "overlays/elastic", "overlays/trainjob", "standalone")
KUBECTL = shutil.which("kubectl")
NO_KUBECTL = "kubectl is not on PATH, which renders the manifests: install version 1.27 or newer"


def copy_manifests(folder: Path) -> Path:
    """A copy of k8s/ in a folder."""
    return Path(shutil.copytree(K8S, folder / "k8s"))


def make_key(path: Path) -> None:
    """An ssh key as the operator makes them: ECDSA P-521, PEM."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "521", "-m", "PEM", "-N", "", "-C", "cnn", "-f", str(path)],
        check=True,
    )


def render(folder: Path) -> list[Manifest]:
    """All manifests of a kustomization."""
    assert KUBECTL is not None, NO_KUBECTL
    done = subprocess.run([KUBECTL, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest is not None]


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one of a kind whose name is, or begins with, a name (kustomize adds a hash to those it generates)."""
    found = [
        each for each in manifests if each["kind"] == kind and f"{each['metadata']['name']}-".startswith(f"{name}-")
    ]
    assert len(found) == 1, f"{len(found)} of kind {kind} named {name}"
    return found[0]


def offered_components(folder: str) -> list[str]:
    """The components in the commented lines of a folder that a user applies."""
    return re.findall(r"^#   - .*components/([\w-]+)$", (K8S / folder / "kustomization.yaml").read_text(), re.MULTILINE)


def with_components(kustomization: Path, names: Sequence[str]) -> list[Manifest]:
    """All manifests of a kustomization in a copy of k8s, with the commented lines used that name these components."""
    k8s = next(folder for folder in kustomization.parents if folder.name == "k8s")
    _uncomment(kustomization, r"^# (components:)$", r"\1")
    for name in names:
        _uncomment(kustomization, rf"^# (  - .*/components/{name})$", r"\1")
    if "prometheus" in names:
        _uncomment(k8s / "components" / "prometheus" / "kustomization.yaml", r"^  # (- pod-monitor.yaml)", r"  \1")
    return render(kustomization.parent)


def _uncomment(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert count == 1, f"{path} has no such commented line"
    path.write_text(text)
