"""environment.yml has the same versions as pyproject.toml."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]

OTHER_NAMES = {
    "matplotlib-base": "matplotlib",
    "prometheus_client": "prometheus-client",
    "py-opencv": "opencv-python-headless",
    "tensorflow": "tensorflow-cpu",
}
OTHER_VERSIONS = {"openmpi": ">=5,<6"}
"""What conda-forge's Horovod is built with."""

OF_EXTRAS = {"docstring_parser", "typeshed-client"}
"""Dependencies of jsonargparse[signatures]: conda has no extras."""


def test_conda_gets_the_versions_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {}
    for requirement in (*project["dependencies"], *project["optional-dependencies"]["cpu"]):
        name, version = re.fullmatch(r"([\w-]+)(?:\[\w+\])?(.*)", requirement).groups()  # type: ignore[union-attr]
        wanted[name] = OTHER_VERSIONS.get(name, version)
    found = {}
    for line in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]:
        name, *version = line.split()
        found[OTHER_NAMES.get(name, name)] = "".join(version[:1])
    low, high = re.fullmatch(r">=(3\.\d+),<(3\.\d+)", project["requires-python"]).groups()  # type: ignore[union-attr]
    conda_low, conda_high = re.fullmatch(r">=(3\.\d+),<(3\.\d+)", found.pop("python")).groups()  # type: ignore[union-attr]
    assert (conda_low, conda_high) == (low, "3.13") and high == "3.14"  # conda-forge has no Horovod for Python 3.13
    assert found.pop("pip") == ""
    assert {name: version for name, version in found.items() if name not in OF_EXTRAS} == wanted
