"""Whether hosts can take their ranks: each is asked before a job is started, so that it starts whole or not at all."""

import dataclasses
import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from cnn.cluster.hosts import Host
from cnn.cluster.this_machine import is_this_machine
from cnn.errors import RunError, UserError

SECONDS_TO_REACH = 10
_SECONDS_TO_ANSWER = 30

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
_VISIBLE = "CUDA_VISIBLE_DEVICES"

_LACKS_FOLDER = 3
"""Exit code of the question."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Devices:
    """What a host computes with."""

    cores: int
    gpus: int
    interfaces: tuple[str, ...]
    """Those of the network that have an IPv4 address."""


def check_hosts(
    hosts: Sequence[Host], python: str, environ: Mapping[str, str], *, oversubscribe: bool, interface: str | None
) -> None:
    """Asks each host, all at once, whether it can be entered, has this environment, and devices for its ranks.

    Args:
        hosts: those of the job, this machine perhaps among them.
        python: the path of the interpreter that ranks are run by.
        environ: the environment of the ranks, which tells what they are to compute on.
        oversubscribe: allow several ranks to a device.
        interface: the network interface that they are to use, if one was chosen.

    Raises:
        RunError: a host cannot be entered, or lacks the environment.
        UserError: it has fewer devices than ranks, no GPU where one was asked for, or no such interface.
    """
    with ThreadPoolExecutor(min(64, len(hosts))) as pool:
        found = list(pool.map(lambda host: _ask(host, python), hosts))
    for host, devices in zip(hosts, found, strict=True):
        check_devices(host, devices, environ, oversubscribe=oversubscribe)
        if interface is not None and interface not in devices.interfaces:
            raise UserError(
                f"--interface {interface} is none with an IPv4 address of the host {host.name}: choose one of "
                f"{', '.join(devices.interfaces)}."
            )


def check_path(hosts: Sequence[Host], folder: str) -> None:
    """Raises UserError where ranks are to run on other hosts and the project's path has a space.

    Open MPI, which starts them through a shell there, does not quote it.
    """
    others = [host.name for host in hosts if not is_this_machine(host.name)]
    if others and len(folder.split()) > 1:
        raise UserError(
            f"the project's path '{folder}' has a space, with which ranks cannot be started on another host "
            f"({others[0]}): move it, on every host, to a path without one."
        )


def check_devices(host: Host, devices: Devices, environ: Mapping[str, str], *, oversubscribe: bool) -> None:
    """Raises UserError when a host has no GPU where one was asked for, or fewer devices than ranks."""
    gpus = len(gpus_for_ranks(devices.gpus, environ))
    named = f" of CUDA_VISIBLE_DEVICES '{environ[_VISIBLE]}'" if devices.gpus and _VISIBLE in environ else ""
    if environ.get("CNN_DEVICE") == "gpu" and not gpus:
        raise UserError(f"the host {host.name} has no GPU{named}: leave out that host, or --device gpu.")
    room, kind, of = (gpus, "GPU", named) if gpus else (devices.cores, "core", "")
    if host.slots > room and not oversubscribe:
        raise UserError(
            f"the host {host.name} has {room} {kind}{'s' if room > 1 else ''}{of}, fewer than its {host.slots} ranks: "
            f"give it {room}, or let them share by --oversubscribe, which is slower."
        )


def devices_here() -> Devices:
    """Those of this machine."""
    question = _LIST_DEVICES + _list_interfaces(sys.executable)
    done = subprocess.run(["sh", "-c", question], capture_output=True, text=True, check=True)
    return _read_devices(done.stdout, "localhost")


def gpus_for_ranks(gpus: int, environ: Mapping[str, str]) -> list[str]:
    """Those of a host's GPUs that ranks in this environment compute on, as CUDA_VISIBLE_DEVICES names them."""
    if not gpus or environ.get("CNN_DEVICE") == "cpu":
        return []
    numbers = [str(number) for number in range(gpus)]
    named = [name.strip() for name in environ.get(_VISIBLE, ",".join(numbers)).split(",")]
    # CUDA too stops at what is no GPU.
    return list(itertools.takewhile(lambda name: name in numbers or name.startswith(("GPU-", "MIG-")), named))


def _list_interfaces(python: str) -> str:
    return shlex.join([python, "-c", _LIST_INTERFACES])


def _read_devices(answer: str, name: str) -> Devices:
    try:
        cores, gpus, interfaces = answer.rstrip("\n").rsplit("\n", 3)[-3:]
        return Devices(cores=int(cores), gpus=int(gpus), interfaces=tuple(interfaces.split()))
    except ValueError:
        raise RunError(
            f"the host {name} does not say which devices it has: look what its shell writes when it is entered."
        ) from None


def _way_to(name: str) -> list[str]:
    """What starts a program on a host: inside a job of Slurm's, where ssh need not be allowed, Slurm."""
    if is_this_machine(name):
        return []
    if "SLURM_JOB_ID" in os.environ:
        return ["srun", "--overlap", "--nodes", "1", "--ntasks", "1", "--nodelist", name]
    return ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={SECONDS_TO_REACH}", name]


def _ask(host: Host, python: str) -> Devices:
    folder = os.getcwd()
    question = (
        f"{{ test -x {shlex.quote(python)} && cd {shlex.quote(folder)}; }} || exit {_LACKS_FOLDER}; {_LIST_DEVICES}"
        f"{_list_interfaces(python)}"
    )
    way = _way_to(host.name)
    # ssh hands over words as one line, to whatever shell the user has there.
    command = [*way, "sh", "-c", shlex.quote(question) if way[:1] == ["ssh"] else question]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS_TO_ANSWER,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(
            f"the host {host.name} did not answer within {_SECONDS_TO_ANSWER} s: look whether it is well."
        ) from error
    except OSError as error:
        raise RunError(
            f"{command[0]} cannot be started ({error.strerror}): install it, it starts the ranks on other hosts."
        ) from error
    if done.returncode == _LACKS_FOLDER:
        raise RunError(
            f"the host {host.name} lacks {python} or the folder {folder}: put this folder there at the same path and "
            "run launch/setup.sh in it."
        )
    if done.returncode != 0:
        reason = " ".join((done.stderr.strip().splitlines() or ["no reason was given"])[-1].split()).rstrip(".")
        raise RunError(f"the host {host.name} cannot be entered ({reason}): `{shlex.join([*way, 'true'])}` must work.")
    return _read_devices(done.stdout, host.name)
