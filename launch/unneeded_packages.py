"""Prints the installed packages that the project does not depend on, one per line: `unneeded_packages.py cpu|gpu`.

They are those of the extras that build and test the project, and what these require (dependencies of the core metadata
specification, https://packaging.python.org/specifications/core-metadata).
"""

import sys
from importlib.metadata import Distribution, distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def unneeded(device: str) -> list[str]:
    """Names of the installed packages outside of what `cnn[device]` requires, directly or not."""
    installed: dict[str, Distribution] = {canonicalize_name(each.name): each for each in distributions()}
    needed: set[str] = set()
    pending: list[tuple[str, frozenset[str]]] = [("cnn", frozenset({device}))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        name, extras = pending.pop()
        if (name, extras) in seen or name not in installed:
            continue
        seen.add((name, extras))
        needed.add(name)
        for line in installed[name].requires or []:
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                pending.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return sorted(installed.keys() - needed)


if __name__ == "__main__":
    print(*unneeded(sys.argv[1]), sep="\n")
