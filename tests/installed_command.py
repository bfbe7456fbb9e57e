"""The script of the command `cnn`, as installers write it."""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def install_command(folder: Path, python: str | Path = sys.executable) -> Path:
    """Writes the script, run by this interpreter, into a folder; returns its path."""
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["cnn"]
    module, _, function = entry.partition(":")
    script = folder / "cnn"
    script.write_text(f"#!{python}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    script.chmod(0o755)
    return script
