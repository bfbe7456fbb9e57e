"""What the image's build takes out of the environment."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "launch" / "unneeded_packages.py"


def test_packages_for_tests_are_not_needed_and_dependencies_of_dependencies_are() -> None:
    listed = subprocess.run(
        [sys.executable, PROGRAM, "cpu"], capture_output=True, text=True, check=True
    ).stdout.split()  # fmt: skip
    assert {"pytest", "hypothesis", "iniconfig", "cmake"} <= set(listed)
    assert not {"cnn", "tensorflow-cpu", "horovod", "keras", "grpcio", "markupsafe", "docstring-parser"} & set(listed)
