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

INNER_LAYERS = {
    "cluster": [{"devices", "hosts"}, {"launchers"}, {"ranks"}, {"exchange"}],
    "data": [{"images", "feed"}, {"folders"}, {"store"}, {"sources"}],
    "monitoring": [{"records", "timing"}, {"tensorboard", "figures", "terminal", "serving"}],
}
"""The same of the folders within a folder. All may import the files directly in it."""

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


def folders_of(path: Path) -> tuple[str, ...]:
    """The folders below cnn that a file is in: ("data", "store")."""
    return path.parent.relative_to(ROOT / "cnn").parts


def test_every_folder_has_a_layer() -> None:
    assert {folders_of(path)[0] for path in FILES if folders_of(path)} == set(LAYER_OF)
    inner = {folders_of(path) for path in FILES if len(folders_of(path)) > 1}
    assert inner == {(name, each) for name, layers in INNER_LAYERS.items() for layer in layers for each in layer}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_from_lower_layers_only(path: Path) -> None:
    folder = next(iter(folders_of(path)), "")
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


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if set(folders_of(path)[:1]) & set(INNER_LAYERS)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_file_imports_from_lower_inner_layers_only(path: Path) -> None:
    outer, *inner = folders_of(path)
    layer_of = {folder: number for number, folders in enumerate(INNER_LAYERS[outer]) for folder in folders}
    folder = next(iter(inner), "")
    for module in imported(path):
        other = module.split(".")[2] if module.startswith(f"cnn.{outer}.") else ""
        if other in layer_of and other != folder:
            is_lower = folder in layer_of and layer_of[other] < layer_of[folder]
            assert is_lower, f"cnn/{outer}/{folder} must not import cnn/{outer}/{other}: {module}"
