"""Hosts as users and schedulers write them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.cluster.hosts import Host, find_hosts, host_list, parse_hosts, read_hostfile
from cnn.errors import UserError

TWO = [Host(name="a", slots=4), Host(name="b-1.example", slots=1)]


def test_a_list_and_back() -> None:
    assert parse_hosts("a:4, b-1.example", "-H") == TWO
    assert host_list(TWO) == "a:4,b-1.example:1"


@pytest.mark.parametrize("text", ["a slots=4\nb-1.example\n", "# two\n a:4 # fast\n\nb-1.example slots = 1"])
def test_a_hostfile(tmp_path: Path, text: str) -> None:
    (tmp_path / "hosts").write_text(text)
    assert read_hostfile(tmp_path / "hosts") == TWO


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' in -H ''"),
        ("a,,b", "'' in -H"),
        ("a;reboot", "'a;reboot' in -H"),
        ("$(x):2", r"'\$\(x\)' in -H"),
        ("-oProxyCommand=x", "'-oProxyCommand=x' in -H"),
        ("a:0", "'0' in -H 'a:0' is not a number of ranks from 1 to 1024, as in a:4"),
        ("a:-1", "'-1' in"),
        ("a:four", "'four' in"),
        ("a:٣", "'٣' in"),
        ("a:", "'' in"),
        ("a:5000", "'5000' in"),
        ("a:1,b:1,a:2", "-H 'a:1,b:1,a:2' names a twice"),
        ("a:" + "9" * 5000, "is not a number of ranks from 1 to 1024"),
    ],
)
def test_what_is_no_list_of_hosts(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_hosts(text, "-H")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "names no host"),
        (b"# nothing\n\n", "names no host"),
        (b"a slots=4\nb slots\n", "line 2 of the hostfile .*, 'b slots', is not a host"),
        (b"a slots=x\n", "'x' in line 1"),
        (b"a b c\n", "line 1 of"),
        (b"`x` slots=1\n", "'`x`' in line 1"),
        (b"a\na\n", "names a twice"),
        (b"\xff\xfe\x00", "cannot be read \\(it is no text\\)"),
    ],
)
def test_what_is_no_hostfile(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "hosts").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_hostfile(tmp_path / "hosts")


def test_a_hostfile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(No such file or directory\)"):
        read_hostfile(tmp_path / "none")


@given(st.text())
def test_no_text_gives_a_name_that_a_shell_or_ssh_could_take_for_something_else(text: str) -> None:
    try:
        hosts = parse_hosts(text, "-H")
    except UserError:
        return
    for host in hosts:
        assert host.name.isascii()
        assert host.name.replace("-", "").replace(".", "").replace("_", "").isalnum()
        assert not host.name.startswith("-")


def test_where_hosts_come_from(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("c\n")
    file = str(tmp_path / "hosts")
    assert find_hosts(None, None, {}) is None
    assert find_hosts("a", None, {"CNN_HOSTS": "b"}) == [Host(name="a", slots=1)]
    assert find_hosts(None, file, {"CNN_HOSTS": "b"}) == [Host(name="c", slots=1)]
    assert find_hosts(None, None, {"CNN_HOSTS": "b", "CNN_HOSTFILE": file}) == [Host(name="b", slots=1)]
    assert find_hosts(None, None, {"OMPI_MCA_orte_default_hostfile": file}) == [Host(name="c", slots=1)]
    with pytest.raises(UserError, match="CNN_HOSTS 'b:x'"):
        find_hosts(None, None, {"CNN_HOSTS": "b:x"})
    with pytest.raises(UserError, match="both given"):
        find_hosts("a", file, {})
