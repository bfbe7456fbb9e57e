"""Each folder of cnn imports only from lower layers, and cnn/cluster alone imports Horovod and MPI."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"models", "data", "cluster", "monitoring"},
    {"optim", "launching"},
    {"learner"},
    {"settings"},
    {"runs"},
    {"trained"},
    {"sweeps", "measuring", "notebook"},
]
"""From the lowest up. Folders of one layer do not import each other; the files directly in cnn import none of them,
except for what `import cnn` offers."""

LAYER_OF = {folder: number for number, folders in enumerate(LAYERS) for folder in folders}
FILES = sorted((ROOT / "cnn").rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield str(node.module)


def test_every_folder_has_a_layer() -> None:
    assert {path.parent.name for path in FILES if path.parent != ROOT / "cnn"} == set(LAYER_OF)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_from_lower_layers_only(path: Path) -> None:
    folder = path.parent.name
    for module in imported(path):
        package, _, rest = module.partition(".")
        if package in ("horovod", "mpi4py"):
            assert folder == "cluster", f"{module} is for cnn/cluster alone"
        other = rest.partition(".")[0]
        if package == "cnn" and other in LAYER_OF and other != folder:
            if path == ROOT / "cnn/__init__.py":
                assert other == "notebook", f"import cnn offers what is in cnn/notebook alone: {module}"
                continue
            is_lower = folder in LAYER_OF and LAYER_OF[other] < LAYER_OF[folder]
            assert is_lower, f"cnn/{folder} must not import cnn/{other}: {module}"
