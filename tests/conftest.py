"""Setup of all tests."""

import signal
from pathlib import Path

import pytest

from tests.https_server import make_certificate

# Started in the background by a shell, this process and everything it starts would ignore SIGINT, also the programs
# whose end by SIGINT is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)

_PLACES = {folder: place for place, folder in enumerate(("integration", "repeatability", "learner", "models", "runs"))}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long tests first, so that no process is left with one at the end."""
    items.sort(key=lambda item: _PLACES.get(item.path.parent.name, len(_PLACES)))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A server's certificate, and its key."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))
