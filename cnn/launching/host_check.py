"""Checks before a job starts that every host can run its ranks, so that it starts completely or not at all."""

import dataclasses
import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from cnn.cluster.hosts.hosts import Host
from cnn.cluster.hosts.this_machine import is_this_machine
from cnn.errors import RunError, UserError

CONNECT_TIMEOUT_SECONDS = 10
_TIMEOUT_SECONDS = 30

_LIST_DEVICES = """
echo
env -u OMP_NUM_THREADS nproc
set -- /dev/nvidia[0-9]*
[ -e "$1" ] && echo $# || echo 0
"""
_LIST_INTERFACES = """
import psutil, socket
found = psutil.net_if_addrs().items()
print(*sorted(name for name, each in found if socket.AF_INET in {address.family for address in each}))
"""
_UNKNOWN = "?"
"""In place of the interfaces if they cannot be listed, as in containers without /sys or /proc."""

_VISIBLE = "CUDA_VISIBLE_DEVICES"

_FOLDER_MISSING = 3
"""Exit code of the query."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Devices:
    """A host's devices."""

    cores: int
    gpus: int
    interfaces: tuple[str, ...] | None
    """Network interfaces with an IPv4 address; None if the host cannot list them."""


def check_hosts(
    hosts: Sequence[Host], python: str, environ: Mapping[str, str], *, oversubscribe: bool, interface: str | None
) -> None:
    """Checks, on all hosts in parallel, that a host is reachable, and has this environment and devices for its ranks.

    Args:
        hosts: the job's hosts, with or without this machine.
        python: path of the ranks' Python interpreter.
        environ: the ranks' environment, which determines the devices that they use.
        oversubscribe: allow several ranks per device.
        interface: the network interface that the ranks must use; None if none was chosen.

    Raises:
        RunError: a host is not reachable, or lacks the environment.
        UserError: a host has fewer devices than ranks, no GPU although one is requested, no network, or not
            the chosen interface.
    """
    with ThreadPoolExecutor(min(64, len(hosts))) as pool:
        found = list(pool.map(lambda host: _query(host, python), hosts))
    for host, devices in zip(hosts, found, strict=True):
        check_devices(host, devices, environ, oversubscribe=oversubscribe)
        check_interfaces(host, devices.interfaces, interface)


def check_interfaces(host: Host, interfaces: Sequence[str] | None, chosen: str | None) -> None:
    """Raises UserError if a host has no network interface, which ranks need even on one host, or not the chosen one."""
    if interfaces is None:
        return
    if not interfaces:
        raise UserError(
            f"the host {host.name} has no network interface with an IPv4 address, over which ranks find each other "
            "even on one host: run `ip link set lo up` there as root."
        )
    if chosen is not None and chosen not in interfaces:
        raise UserError(
            f"--interface {chosen} has no IPv4 address on the host {host.name}: choose one of {', '.join(interfaces)}."
        )


def check_path(hosts: Sequence[Host], folder: str) -> None:
    """Raises UserError if ranks are to run on other hosts and the project's path contains whitespace.

    Open MPI starts them through a shell on those hosts, without quoting the path.
    """
    others = [host.name for host in hosts if not is_this_machine(host.name)]
    if others and len(folder.split()) > 1:
        raise UserError(
            f"the project's path '{folder}' has a space, which prevents starting ranks on another host "
            f"({others[0]}): move it, on every host, to a path without one."
        )


def check_devices(host: Host, devices: Devices, environ: Mapping[str, str], *, oversubscribe: bool) -> None:
    """Raises UserError if a host has no GPU although one is requested, or fewer devices than ranks."""
    gpus = len(gpus_for_ranks(devices.gpus, environ))
    visible = f" of CUDA_VISIBLE_DEVICES '{environ[_VISIBLE]}'" if devices.gpus and _VISIBLE in environ else ""
    if environ.get("CNN_DEVICE") == "gpu" and not gpus:
        raise UserError(f"the host {host.name} has no GPU{visible}: leave out that host, or --device gpu.")
    count, device, origin = (gpus, "GPU", visible) if gpus else (devices.cores, "core", "")
    if host.slots > count and not oversubscribe:
        named = f"{count} {device}{'s' if count > 1 else ''}{origin}"
        raise UserError(
            f"the host {host.name} has {named}, fewer than its {host.slots} ranks: start at most {count} there, or let "
            "ranks share them by --oversubscribe, which is slower."
        )


def devices_here() -> Devices:
    """The devices of this machine."""
    query = _LIST_DEVICES + _list_interfaces(sys.executable)
    done = subprocess.run(["sh", "-c", query], capture_output=True, text=True, check=True)
    return _read_devices(done.stdout, "localhost")


def gpus_for_ranks(gpus: int, environ: Mapping[str, str]) -> list[str]:
    """The GPUs of a host that ranks in this environment use, as named in CUDA_VISIBLE_DEVICES."""
    if not gpus or environ.get("CNN_DEVICE") == "cpu":
        return []
    numbers = [str(number) for number in range(gpus)]
    named = [name.strip() for name in environ.get(_VISIBLE, ",".join(numbers)).split(",")]
    # Like CUDA, ignore everything from the first invalid name on.
    return list(itertools.takewhile(lambda name: name in numbers or name.startswith(("GPU-", "MIG-")), named))


def _list_interfaces(python: str) -> str:
    return f"{shlex.join([python, '-c', _LIST_INTERFACES])} || echo {_UNKNOWN}"


def _read_devices(answer: str, name: str) -> Devices:
    try:
        # Only one line break is removed: the last line is empty if there is no interface.
        cores, gpus, interfaces = answer.removesuffix("\n").rsplit("\n", 3)[-3:]
        names = None if interfaces == _UNKNOWN else tuple(interfaces.split())
        return Devices(cores=int(cores), gpus=int(gpus), interfaces=names)
    except ValueError:
        raise RunError(
            f"the host {name} gave no valid list of its devices: check what its shell prints at login."
        ) from None


def _remote_prefix(name: str) -> list[str]:
    """The command that runs a program on a host: srun in a Slurm job, where ssh may be forbidden, else ssh."""
    if is_this_machine(name):
        return []
    if "SLURM_JOB_ID" in os.environ:
        return ["srun", "--overlap", "--nodes", "1", "--ntasks", "1", "--nodelist", name]
    return ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_TIMEOUT_SECONDS}", name]


def _query(host: Host, python: str) -> Devices:
    folder = os.getcwd()
    query = (
        f"{{ test -x {shlex.quote(python)} && cd {shlex.quote(folder)}; }} || exit {_FOLDER_MISSING}; {_LIST_DEVICES}"
        f"{_list_interfaces(python)}"
    )
    prefix = _remote_prefix(host.name)
    # ssh joins its arguments into one line, which the user's login shell interprets.
    command = [*prefix, "sh", "-c", shlex.quote(query) if prefix[:1] == ["ssh"] else query]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(f"the host {host.name} did not answer within {_TIMEOUT_SECONDS} s: check its state.") from error
    except OSError as error:
        raise RunError(
            f"{command[0]} cannot be started ({error.strerror}): install it; it starts the ranks on other hosts."
        ) from error
    if done.returncode == _FOLDER_MISSING:
        raise RunError(
            f"the host {host.name} lacks {python} or the folder {folder}: put this folder there at the same path and "
            "run launch/setup.sh in it."
        )
    if done.returncode != 0:
        reason = " ".join((done.stderr.strip().splitlines() or ["no reason was given"])[-1].split()).rstrip(".")
        raise RunError(f"the host {host.name} is unreachable ({reason}): `{shlex.join([*prefix, 'true'])}` must work.")
    return _read_devices(done.stdout, host.name)
