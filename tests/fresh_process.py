"""What code loads in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def loads(module: str, code: str, *arguments: object) -> bool:
    """Whether `python -c CODE ARGUMENTS`, which must not fail, loads a module."""
    ending = f"\nimport sys; print({module!r} in sys.modules)"
    command = [sys.executable, "-c", code + ending, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()[-1] == "True"
