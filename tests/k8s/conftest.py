"""Rendered manifests, the image and a place to run its containers."""

from collections.abc import Iterator

import pytest

from .docker_image import build_image, running_docker
from .rendering import FOLDERS, KUBECTL, NO_KUBECTL, Manifest, copy_manifests, render


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Manifest]]:
    """The manifests of every folder that a user applies."""
    if KUBECTL is None:
        pytest.skip(NO_KUBECTL)
    folder = copy_manifests(tmp_path_factory.mktemp("rendered"))
    return {name: render(folder / name) for name in FOLDERS}


@pytest.fixture(scope="session")
def image(docker_daemon: None) -> str:
    """The image of the real Dockerfile, on a base that debootstrap makes, since none can be pulled everywhere."""
    return build_image()


@pytest.fixture(scope="session")
def docker_daemon() -> Iterator[None]:
    """Docker, started for these tests where it is not running."""
    with running_docker() as reason:
        if reason:
            pytest.skip(reason)
        yield
