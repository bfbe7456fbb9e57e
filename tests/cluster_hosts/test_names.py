"""Hosts are found by whichever name they are given: with a domain or without, the one they call themselves or not."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from .hosts import DOMAIN, IN_DOMAIN, NAMES, Hosts

pytestmark = pytest.mark.cluster
WAYS = {
    "mpirun": ("launch/mpirun.sh", "-H"),
    "mpirun that waits": ("launch/mpirun.sh", "--wait", "20", "-H"),
    "horovodrun over Gloo": ("launch/horovodrun.sh", "-H"),
    "horovodrun over MPI": ("launch/horovodrun.sh", "--controller", "mpi", "-H"),
    "elastic": ("launch/elastic.sh",),
}
CALLED: dict[str, Callable[[str], str]] = {
    "by other names": lambda name: name,
    "by these names": lambda name: f"{name.replace('node', 'far')}.{DOMAIN}",
    "by these without the domain": lambda name: name.replace("node", "far"),
}


def train(hosts: Hosts, way: str, names: Sequence[str], scratch: Path) -> tuple[str, list[str]]:
    """What is said, and what the ranks' hosts call themselves."""
    given = ",".join(f"{name}:1" for name in names)
    if way == "elastic":
        script = scratch / "hosts.sh"
        script.write_text(f"#!/bin/sh\necho '{given}' | tr , '\\n'\n")
        script.chmod(0o755)
        given = str(script)
    run = scratch / "run"
    settings = ("--model", "fcnn", "--data", "digits", "--steps", 3, "--run_dir", run)
    ended = hosts.run("bash", *WAYS[way], given, "--", *settings)
    assert ended.code == 0, ended.output
    topology = json.loads((run / "environment.json").read_text())["topology"]
    return ended.output, topology["hosts"]


@pytest.mark.parametrize(
    ("way", "called"),
    [
        pytest.param("mpirun", "by other names", marks=pytest.mark.short),
        ("mpirun that waits", "by these without the domain"),  # as pods
        ("horovodrun over Gloo", "by these names"),
        ("horovodrun over MPI", "by these names"),
        ("elastic", "by other names"),
    ],
)
def test_names_with_a_domain(hosts: Hosts, tmp_path: Path, way: str, called: str) -> None:
    own = [CALLED[called](name) for name in NAMES[:2]]
    with hosts[NAMES[0]].called(own[0]), hosts[NAMES[1]].called(own[1]):
        assert sorted(train(hosts, way, IN_DOMAIN[:2], tmp_path)[1]) == own


@pytest.mark.parametrize("way", ["mpirun that waits", "horovodrun over MPI"])
def test_hosts_that_call_themselves_by_more_than_they_are_given_by(hosts: Hosts, tmp_path: Path, way: str) -> None:
    own = [f"{name}.elsewhere.test" for name in NAMES[:2]]
    with hosts[NAMES[0]].called(own[0]), hosts[NAMES[1]].called(own[1]):
        assert train(hosts, way, NAMES[:2], tmp_path)[1] == own


@pytest.mark.parametrize("way", ["horovodrun over Gloo"])
def test_one_host_under_two_names(hosts: Hosts, tmp_path: Path, way: str) -> None:
    names = ("localhost", NAMES[1], IN_DOMAIN[0])
    assert train(hosts, way, names, tmp_path)[1] == [NAMES[0], NAMES[0], NAMES[1]]
