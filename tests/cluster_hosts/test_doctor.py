"""The doctor of three hosts names the one that is slow, and the one that has something else."""

import re
from pathlib import Path

import pytest

from .hosts import NAMES, Ended, Hosts
from .other_installations import other_code, other_data

pytestmark = pytest.mark.cluster
THREE = ",".join(f"{name}:1" for name in NAMES)


def doctor(hosts: Hosts, *settings: object) -> Ended:
    return hosts.run("bash", "launch/mpirun.sh", "-H", THREE, "--program", "jobs/doctor.py", "--", *settings)


@pytest.mark.parametrize(
    ("slow", "discipline"),
    [
        ("node3", ("tbf", "rate", "20mbit", "burst", "16kb", "latency", "400ms")),
        ("node1", ("tbf", "rate", "20mbit", "burst", "16kb", "latency", "400ms")),
        ("node2", ("netem", "delay", "20ms")),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_the_host_with_a_slow_link_is_named(hosts: Hosts, slow: str, discipline: tuple[str, ...]) -> None:
    with hosts[slow].link(*discipline):
        ended = doctor(hosts)
    print(ended.output)
    assert ended.code == 0, ended.output
    named = re.findall(r"^warning: the link of (\S+) is slow: ", ended.output, re.MULTILINE)
    assert named == [slow], ended.output
    assert "warning: the link between" not in ended.output
    assert "verdict: 3 workers can work together, but the warnings name what will slow them down" in ended.output


@pytest.mark.parametrize("odd", ["node3", "node1"])
def test_the_host_with_other_code_is_named(hosts: Hosts, tmp_path: Path, odd: str) -> None:
    with other_code(hosts[odd], tmp_path):
        ended = doctor(hosts)
    assert ended.code == 1, ended.output
    named = re.findall(r"^fault: rank \d \(on (\S+)\) differs from rank \d: code of cnn is \w+", ended.output, re.M)
    assert named == [odd], ended.output
    assert "verdict: 3 workers cannot work together; fix the faults" in ended.output


def test_the_host_with_other_data_is_named(hosts: Hosts, tmp_path: Path) -> None:
    with other_data(hosts, "node2", tmp_path) as images:
        ended = doctor(hosts, "--data", "folder", "--data_dir", images, "--image_size", 16)
    print(ended.output)
    assert ended.code == 1, ended.output
    named = re.findall(r"^fault: rank \d \(on (\S+)\) differs from rank \d: data folder is \w+", ended.output, re.M)
    assert named == ["node2"], ended.output
