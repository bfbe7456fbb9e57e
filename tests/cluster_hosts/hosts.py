"""Three hosts on this machine: each has processes, network, name and mounts of its own (namespaces), and an sshd.

Nothing of them outlives the tests: a host's processes end with its first one, that one ends with this process, and
namespaces go with their last process. ~/.ssh and /etc are left alone: each host sees files of the tests at /etc/ssh and
/etc/hosts. The folder of this project is the same on all hosts, as on a shared disk, until something is laid over it.
"""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"
NAMES = ("node1", "node2", "node3")
DOMAIN = "cluster.test"
IN_DOMAIN = tuple(f"far{number}.{DOMAIN}" for number in range(1, len(NAMES) + 1))
"""The hosts' other names, known only with their domain, as pods behind a headless Service are."""

REFUSED, GONE, STRANGER, CHANGED = "refused", "gone", "stranger", "changed"
"""Hosts that cannot be reached: one without an sshd, one that is not there, one that does not know the user's key, and
one whose own key is not what it was."""

_SECONDS = 300
"""No job of these tests may last longer."""

_ADDRESSES = {
    **{name: f"10.77.0.{number}" for names in (NAMES, IN_DOMAIN) for number, name in enumerate(names, start=1)},
    GONE: "10.77.0.99",
    REFUSED: "10.77.0.254",
}
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_PROGRAMS = ("ip", "nsenter", "setpriv", "ssh", "ssh-keygen", "sshd", "tc", "unshare")
_FIRST_PROCESS = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--net", "--uts", "--ipc", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"),
)

_START_SWITCH = f"""
ip link add br0 type bridge
ip address add {_ADDRESSES[REFUSED]}/24 dev br0
ip link set br0 up
echo up
exec sleep infinity
"""

_START_HOST = """
name=$1 folder=$2
hostname "$name"
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
mkdir /run/sshd
[ ! -d ~/.ssh ] || mount -t tmpfs tmpfs ~/.ssh
mount --bind "$folder/ssh" /etc/ssh
mount --bind "$folder/hosts" /etc/hosts
mount --bind /dev/null /etc/resolv.conf
ip link set lo up
echo up
exec "$(command -v sshd)" -D -E "$folder/$name.log" -h "/etc/ssh/$name"
"""

_SSHD_CONFIG = """
AuthorizedKeysFile /etc/ssh/user.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
MaxStartups 100
"""

_SSH_CONFIG = f"""
Host {STRANGER}
    HostName {NAMES[1]}
    HostKeyAlias {NAMES[1]}
    IdentityFile /etc/ssh/nobody
Host {CHANGED}
    HostName {NAMES[1]}
    HostKeyAlias {CHANGED}
Host !{STRANGER} *
    IdentityFile /etc/ssh/user
Host *
    IdentitiesOnly yes
    StrictHostKeyChecking yes
    UserKnownHostsFile /dev/null
    GlobalKnownHostsFile /etc/ssh/known
"""


def missing() -> str:
    """What this machine lacks for such hosts; empty when nothing."""
    if os.geteuid() != 0:
        return "root's rights"
    if len(str(ROOT).split()) > 1:
        return "a path without a space, which other hosts could not be given"
    absent = [program for program in _PROGRAMS if not shutil.which(program, path=PATH)]
    if absent:
        return f"{', '.join(absent)} (Debian: apt install iproute2 openssh-server)"
    done = _call(*_FIRST_PROCESS, "sh", "-ec", "mount -t sysfs sysfs /sys; ip link add br0 type bridge", check=False)
    return f"the right to make namespaces and bridges ({' '.join(done.stderr.split())})" if done.returncode else ""


def _call(*command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, env={**os.environ, "PATH": PATH}, check=check, capture_output=True, text=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    output: str
    seconds: float


class Host:
    """One of them."""

    def __init__(self, script: str, *arguments: object) -> None:
        command = [*_FIRST_PROCESS, "sh", "-ec", script, "sh", *map(str, arguments)]
        self._process = subprocess.Popen(
            command, env={**os.environ, "PATH": PATH}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if said != "up\n":
            self.close()
            raise RuntimeError(f"a host did not start: {said}")
        self.first_process = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().strip()

    def command(self, *words: object) -> list[str]:
        """What runs a command there, in the project's folder."""
        return ["nsenter", "--target", self.first_process, "--all", "env", "--chdir", str(ROOT), *map(str, words)]

    def call(self, *words: object) -> None:
        """Runs a command there that must work."""
        _call(*self.command(*words))

    def processes(self, pattern: str) -> str:
        """The command lines of the processes there in which something occurs."""
        return _call(*self.command("pgrep", "--full", "--list-full", pattern), check=False).stdout

    @contextlib.contextmanager
    def called(self, name: str) -> Iterator[None]:
        """Meanwhile this host calls itself by another name."""
        before = _call(*self.command("hostname")).stdout.strip()
        self.call("hostname", name)
        try:
            yield
        finally:
            self.call("hostname", before)

    @contextlib.contextmanager
    def sees(self, replacement: Path, path: Path) -> Iterator[None]:
        """Meanwhile this host has something else at a path."""
        self.call("mount", "--bind", replacement, path)
        try:
            yield
        finally:
            self.call("umount", "--lazy", path)

    @contextlib.contextmanager
    def link(self, *discipline: str) -> Iterator[None]:
        """Meanwhile what this host sends waits as a queueing discipline of tc says; skips where the kernel has none."""
        device = ("dev", "eth0", "root")
        try:
            self.call("tc", "qdisc", "add", *device, *discipline)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this kernel has no tc {' '.join(discipline)} ({error.stderr.strip()})")
        try:
            yield
        finally:
            self.call("tc", "qdisc", "del", *device)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Hosts:
    """All of them, and how a user who is logged in on the first starts jobs."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._opened = folder, contextlib.ExitStack()
        self.cache = folder / "cache"
        """Where data sets are prepared; the same folder on all hosts."""

        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        _write_files(self._folder)
        switch = self._open(_START_SWITCH)
        self._hosts = {name: self._open(_START_HOST, name, self._folder) for name in NAMES}
        for name, host in self._hosts.items():
            port = f"to-{name}"
            ends = ("eth0", "netns", host.first_process, "type", "veth", "peer", port, "netns", switch.first_process)
            _call("ip", "link", "add", *ends)
            switch.call("ip", "link", "set", port, "master", "br0", "up")
            host.call("ip", "address", "add", f"{_ADDRESSES[name]}/24", "dev", "eth0")
            host.call("ip", "link", "set", "eth0", "up")
        for name in NAMES:  # until each answers
            self[NAMES[0]].call("ssh", "-o", "BatchMode=yes", "-o", "ConnectionAttempts=30", name, "true")

    def _open(self, script: str, *arguments: object) -> Host:
        host = Host(script, *arguments)
        self._opened.callback(host.close)
        return host

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def start(self, *command: object, on: str = NAMES[0], **environment: str) -> "Started":
        """Starts a command on a host in an environment of little more than PATH and HOME."""
        clean = {"PYTHONPATH": str(ROOT), "PATH": PATH, "HOME": os.environ["HOME"], "CNN_CACHE_DIR": str(self.cache)}
        return Started(self[on].command(*command), {**clean, **environment})

    def run(self, *command: object, on: str = NAMES[0], **environment: str) -> Ended:
        """Runs a command to its end."""
        return self.start(*command, on=on, **environment).end()

    def entered(self, name: str) -> int:
        """How often a host has been entered by ssh until now."""
        return (self._folder / f"{name}.log").read_text().count("Accepted publickey")

    def close(self) -> None:
        self._opened.close()


class Started:
    """A command that runs on one of them."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._begin = time.monotonic()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (`end` closes it)
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT
        )

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Until something has happened while the command runs."""
        while not happened():
            assert self._process.poll() is None, self.end().output
            assert time.monotonic() - self._begin < _SECONDS
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.1)

    def end(self) -> Ended:
        """Waits for its end."""
        with self._output:
            try:
                self._process.wait(timeout=_SECONDS)
            finally:
                self._process.kill()
            seconds = time.monotonic() - self._begin
            self._output.seek(0)
            return Ended(code=self._process.returncode, output=self._output.read().decode(), seconds=seconds)


def _write_files(folder: Path) -> None:
    """What each host sees at /etc/ssh and /etc/hosts."""
    names = [f"{address} {name}\n" for name, address in {"localhost": "127.0.0.1", **_ADDRESSES}.items()]
    (folder / "hosts").write_text("".join(names))
    (folder / "cache").mkdir()
    ssh = folder / "ssh"
    ssh.mkdir()
    for key in ("user", "nobody", CHANGED, *NAMES):
        _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / key)
    keys = {**{name: name for name in (*NAMES, CHANGED)}, **dict(zip(IN_DOMAIN, NAMES, strict=True))}
    known = [f"{name} {(ssh / f'{key}.pub').read_text()}" for name, key in keys.items()]
    (ssh / "known").write_text("".join(known))
    (ssh / "sshd_config").write_text(_SSHD_CONFIG)
    (ssh / "ssh_config").write_text(_SSH_CONFIG)
