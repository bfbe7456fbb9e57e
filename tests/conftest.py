"""Setup of all tests."""

import signal
from pathlib import Path

import pytest

# Started in the background by a shell, this process and everything it starts would ignore SIGINT, also the programs
# whose end by SIGINT is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)

_LONG = [Path(__file__).parent / folder for folder in ("integration", "repeatability")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long tests first, so that no process is left with one at the end."""
    items.sort(key=lambda item: item.path.parent not in _LONG)
