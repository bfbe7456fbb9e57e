"""The program that names the hosts of an elastic job is run by its path, whatever is in that."""

from pathlib import Path

import pytest

from cnn.cluster.hosts.host_script import HostScript
from cnn.errors import UserError


def write(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("name", ["hosts of mine", "$(touch ran)", "a; touch ran", "`touch ran`", "it's", "-n", "a\nb"])
def test_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(name), "echo a:4; echo b")
    for path in (name, str(tmp_path / name)):
        assert HostScript(path, None).find_available_hosts_and_slots() == {"a": 4, "b": 1}
    assert HostScript(name, 3).find_available_hosts_and_slots() == {"a": 4, "b": 3}
    assert not (tmp_path / "ran").exists()


def test_no_hosts_yet(tmp_path: Path) -> None:
    assert HostScript(str(write(tmp_path / "hosts", "echo")), None).find_available_hosts_and_slots() == {}


@pytest.mark.parametrize("printed", ["$(touch ran)", "a;touch ran", "-oProxyCommand=touch", "a:b", "a:0"])
def test_names_that_are_none(tmp_path: Path, printed: str) -> None:
    with pytest.raises(UserError, match="hosts.sh"):
        HostScript(str(write(tmp_path / "hosts.sh", f"echo '{printed}'")), None).find_available_hosts_and_slots()
