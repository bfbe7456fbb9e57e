"""The cluster, which all tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.k8s.docker_pods import docker

from .cluster import Cluster
from .custom_resources import definitions
from .kube_program import build_programs, missing

IMAGE = "cnn:0.1.0"
"""The name that the manifests give to the image."""


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """A control plane that knows the custom resources of the manifests."""
    lacking = missing(node=False)
    if lacking:
        pytest.skip(f"a Kubernetes control plane on this machine needs {lacking}")
    cluster = Cluster(build_programs())
    try:
        cluster.start()
        cluster.make(definitions())
        cluster.await_condition("--for=condition=Established", "crd", "--all")
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def cluster(control_plane: Cluster, image: str) -> Cluster:
    """The control plane with a node that has the image of the real Dockerfile."""
    lacking = missing(node=True)
    if lacking:
        pytest.skip(f"a Kubernetes node on this machine needs {lacking}")
    docker("tag", image, IMAGE)
    control_plane.start_node(IMAGE)
    return control_plane
