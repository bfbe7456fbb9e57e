"""The three hosts, which all tests of this folder share."""

from collections.abc import Iterator

import pytest

from .hosts import Hosts, missing


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    lacking = missing()
    if lacking:
        pytest.skip(f"three hosts on one machine need {lacking}")
    hosts = Hosts(tmp_path_factory.mktemp("hosts"))
    yield hosts
    hosts.close()
