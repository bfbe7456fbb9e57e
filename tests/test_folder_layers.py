"""Each folder of cnn imports only from those below it, and one folder alone knows Horovod and MPI."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"models", "data", "cluster", "monitoring"},
    {"optim", "launching"},
    {"learner"},
    {"settings"},
    {"runs"},
    {"trained"},
    {"sweeps", "measuring"},
]
"""From the ground up. Folders of one floor do not know each other; the files of cnn itself know none of them."""

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted((ROOT / "cnn").rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield str(node.module)


def test_every_folder_has_its_floor() -> None:
    assert {path.parent.name for path in FILES if path.parent != ROOT / "cnn"} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_imports_from_below_only(path: Path) -> None:
    room = path.parent.name
    for module in imported(path):
        package, _, rest = module.partition(".")
        if package in ("horovod", "mpi4py"):
            assert room == "cluster", f"{module} is for cnn/cluster alone"
        other = rest.partition(".")[0]
        if package == "cnn" and other in FLOOR and other != room:
            below = FLOOR[other] < FLOOR[room] if room in FLOOR else False
            assert below, f"cnn/{room} must not know cnn/{other}: {module}"
