"""What launch/elastic.sh makes of a script that names hosts."""

from pathlib import Path

import psutil
import pytest

from cnn.cluster.hosts.host_script import run_host_script
from cnn.cluster.hosts.hosts import Host
from cnn.cluster.hosts.interface import address_of, interface_to
from cnn.errors import UserError
from cnn.launching.elastic_launcher import await_ranks, command_for, parse, program_for
from cnn.settings.settings import TrainingSettings, parse_settings


def script(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hosts.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


HERE = [Host(name="localhost", slots=2)]


def command(*words: object, hosts: list[Host] = HERE) -> list[str]:
    given, settings = parse([str(word) for word in words])
    return [*command_for(given, hosts), *program_for(settings)]


def after(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_the_command(tmp_path: Path) -> None:
    words = command("./hosts.sh", "--min", 2, "--max", 4, "--", "--run_dir", tmp_path, "--model", "vgg16")
    assert (after(words, "-np"), after(words, "--min-np"), after(words, "--max-np")) == ("2", "2", "4")
    assert after(words, "--host-discovery-script") == str(Path("hosts.sh").absolute())
    assert after(words, "--network-interfaces") == interface_to(["localhost"])
    assert words[-4:] == ["--run_dir", str(tmp_path), "--model", "vgg16"]


def test_not_more_ranks_than_allowed_are_started(tmp_path: Path) -> None:
    hosts = [Host(name="a", slots=4), Host(name="b", slots=4)]
    given = ("./hosts.sh", "--interface", "eth7", "--", "--run_dir", tmp_path)
    assert after(command(*given, hosts=hosts), "-np") == "8"
    words = command("./hosts.sh", "--max", 3, *given[1:], hosts=hosts)
    assert (after(words, "-np"), after(words, "--network-interfaces")) == ("3", "eth7")


def test_a_run_that_was_begun_is_resumed_unless_something_else_is_asked_for(tmp_path: Path) -> None:
    words = command("./hosts.sh", "--", f"--run_dir={tmp_path}")
    assert words[-4:] == ["jobs/train.py", "--resume", "auto", f"--run_dir={tmp_path}"]
    assert command("./hosts.sh", "--", "--run-dir", tmp_path)[-2:] == ["--run-dir", str(tmp_path)]
    asked = command("./hosts.sh", "--", "--run_dir", tmp_path, "--no_resume")
    assert parse_settings("", TrainingSettings, asked[asked.index("jobs/train.py") + 1 :]).run.resume is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--min", 0, "--", "--run_dir", "x"), "--min 0 --max None is not a range of ranks"),
        (("--min", 3, "--max", 2, "--", "--run_dir", "x"), "--min 3 --max 2 is not a range of ranks"),
        (("--", "--model", "lenet5"), "--run_dir is missing after --"),
        (("--", "--run_dir"), "--run_dir is missing after --"),
        (("--maximum", 2, "--", "--run_dir", "x"), "unrecognized arguments: --maximum 2"),
    ],
)
def test_mistakes(words: tuple[object, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        command("./hosts.sh", *words)


def test_hosts_are_what_the_script_prints(tmp_path: Path) -> None:
    hosts = run_host_script(script(tmp_path, "echo a:4; echo; echo ' b '"))
    assert hosts == [Host(name="a", slots=4), Host(name="b", slots=1)]
    assert run_host_script(script(tmp_path, "true")) == []


@pytest.mark.parametrize("text", ["exit 3", "echo 'a b'", "echo '-oProxyCommand=x'", "printf '\\377'"])
def test_a_script_that_names_no_hosts(tmp_path: Path, text: str) -> None:
    path = script(tmp_path, text)
    with pytest.raises(UserError, match=str(path)):
        run_host_script(path)


def test_no_script(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none.sh cannot list the hosts .No such file or directory.: name a program"):
        run_host_script(tmp_path / "none.sh")
    path = script(tmp_path, "echo a")
    path.chmod(0o644)
    with pytest.raises(UserError, match="Permission denied"):
        run_host_script(path)


def test_hosts_are_waited_for(tmp_path: Path) -> None:
    path = script(tmp_path, f"echo a; [ ! -e {tmp_path}/again ] || echo b; touch {tmp_path}/again")
    assert len(await_ranks(path, 2, 60)) == 2
    with pytest.raises(UserError, match="offer 2 ranks after 0 s, --min is 3: check what it prints"):
        await_ranks(path, 3, 0)


def test_hosts_that_join_later_reach_a_job_that_began_on_this_machine_alone() -> None:
    routes = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    by_default = [name for name, target, *_ in routes if target == "00000000"]
    assert interface_to(["localhost"]) in (by_default or ["lo"])


def test_the_interface_to_a_host() -> None:
    default = interface_to([])
    assert default in psutil.net_if_addrs()
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family.name == "AF_INET":
                assert interface_to([address.address]) == default  # this machine itself, by whatever name
    with pytest.raises(UserError, match="the host nowhere.invalid is unknown or unreachable"):
        interface_to(["nowhere.invalid"])


def test_the_address_of_an_interface() -> None:
    assert address_of("lo") == "127.0.0.1"
    with pytest.raises(UserError, match="no network interface nope with an IPv4 address: choose one of .*lo"):
        address_of("nope")
