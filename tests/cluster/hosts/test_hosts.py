"""Hosts as users and schedulers write them."""

import itertools
import socket
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.cluster.hosts.hosts import Host, find_hosts, host_list, parse_hosts, read_hostfile
from cnn.cluster.hosts.this_machine import comparable, is_this_machine
from cnn.errors import UserError

TWO = [Host(name="a", slots=4), Host(name="b-1.example", slots=1)]


def test_a_list_and_back() -> None:
    for text in ("a:4, b-1.example", " a:4,b-1.example:1, ", "a:1,b-1.example.,A:2,a"):
        assert parse_hosts(text, "-H") == TWO
    assert host_list(TWO) == "a:4,b-1.example:1"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a slots=4\nb-1.example\n", id="Open MPI"),
        pytest.param("# two\n a:4 # fast\n\nb-1.example slots = 1", id="MPICH, comments"),
        pytest.param("a\na\na\na\nb-1.example\n", id="PBS, LSF, srun hostname"),
        pytest.param("a\nb-1.example\na\na\na\n", id="not adjacent"),
        pytest.param(
            "a slots=2 max_slots=8\nA. max-slots=8 slots=2\nB-1.example cpu=1\n", id="most, capitals, a point"
        ),
        pytest.param("a 4 all.q@a UNDEFINED\nb-1.example 1 all.q@b <NULL>\n", id="Grid Engine"),
        pytest.param("\ufeffa slots=4\r\nb-1.example\r\n", id="of Windows"),
    ],
)
def test_a_hostfile(tmp_path: Path, text: str) -> None:
    (tmp_path / "hosts").write_bytes(text.encode())
    hosts = read_hostfile(tmp_path / "hosts")
    assert [Host(name=comparable(host.name), slots=host.slots) for host in hosts] == TWO


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
        ("fe80::99:2", "'fe80::99:2' in -H 'fe80::99:2' is an IPv6 address, which mpirun and horovodrun do not accept"),
        ("[::1]:x", "'x' in -H"),
        ("me@a:2", "'me@a' in -H"),
        (",", "'' in -H"),
        ("a..:2,b", "'a..' in -H"),
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
        (b"a slots=1 slots=2\n", "line 1 of .* is not a host"),
        (b"a max_slots=x\n", "'x' in line 1"),
        (b"a slots=1 cpu=2\n", "line 1 of"),
        (b"a 0 all.q@a UNDEFINED\n", "'0' in line 1"),
        (b"\xff\xfe\x00", "cannot be read \\(it is not a text file\\)"),
    ],
)
def test_what_is_no_hostfile(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "hosts").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_hostfile(tmp_path / "hosts")


def test_a_hostfile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(No such file or directory\)"):
        read_hostfile(tmp_path / "none")


def own_names() -> list[str]:
    """Some names and addresses of this machine, none of which needs DNS."""
    addresses = [each.address.partition("%")[0] for found in psutil.net_if_addrs().values() for each in found]
    own = [address for address in addresses if address.count(".") == 3 or "::" in address]
    return ["localhost", "LocalHost.", "127.0.0.1", "127.0.1.1", "::1", socket.gethostname(), *own]


def test_this_machine_is_one_host_by_whichever_of_its_names() -> None:
    for names in itertools.permutations(["localhost", "127.0.0.1", "[::1]"]):
        found = find_hosts(",".join(names), None, {})
        assert found is not None
        assert [host.slots for host in found] == [3]
        assert is_this_machine(found[0].name)
    found = find_hosts(
        ",".join(["far.invalid", *(f"[{name}]" if ":" in name else name for name in own_names())]), None, {}
    )
    assert found is not None
    assert [host.slots for host in found] == [1, len(own_names())]
    assert all(is_this_machine(name) for name in own_names())
    assert not any(is_this_machine(name) for name in ("far.invalid", "192.0.2.99", "a" * 300, "2001:db8::9"))


def test_several_names_of_this_machine_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    find_hosts("localhost:4,127.0.0.1:3,far.invalid:2,127.0.0.2", None, {})
    assert capsys.readouterr().err == (
        "warning: localhost, 127.0.0.1 and 127.0.0.2 are names of this machine: counted as one host with 8 slots.\n"
    )
    find_hosts("localhost:4,localhost:4,far.invalid:2", None, {})
    assert capsys.readouterr().err == ""


def test_a_name_of_this_machine_that_horovodrun_would_look_for_elsewhere_is_not_passed_on() -> None:
    assert find_hosts("127.0.1.1:2", None, {}) == [Host(name="localhost", slots=2)]
    assert find_hosts("127.0.0.1:2", None, {}) == [Host(name="127.0.0.1", slots=2)]


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
    with pytest.raises(UserError, match="exclude each other"):
        find_hosts("a", file, {})
