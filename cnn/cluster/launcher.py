"""Starts a job on one host or on many: the exact command for mpirun or horovodrun, after looking whether it can work.

  bash launch/mpirun.sh -H a:4,b:4 -- --model vgg16 --data oxflower17
  bash launch/horovodrun.sh -np 2 -- --model lenet5
  bash launch/mpirun.sh --hostfile hosts.txt --program jobs/doctor.py

What follows -- goes to the program as it is. Every host needs this folder at the same path, set up by launch/setup.sh,
and ssh from here without a password.
"""

import argparse
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cnn.cluster.hosts import Host, find_hosts, host_list
from cnn.errors import RunError, UserError, told

_OPTIONS: dict[tuple[str, ...], dict[str, Any]] = {
    ("-H", "--hosts"): {"help": "hosts and the ranks on each: a:4,b:4 (or $CNN_HOSTS)"},
    ("--hostfile",): {"help": "file with 'NAME slots=4' in each line (or $CNN_HOSTFILE)"},
    ("-np", "--workers"): {"type": int, "help": "ranks; else one for each slot, GPU, or core where there is no GPU"},
    ("--interface",): {"default": os.environ.get("CNN_INTERFACE"), "help": "network interface (or $CNN_INTERFACE)"},
    ("--controller",): {"choices": ("mpi", "gloo"), "default": "gloo", "help": "how horovodrun connects ranks"},
    ("--program",): {"default": "jobs/train.py", "help": "what to run; jobs/train.py when left out"},
    ("--dry_run",): {"action": "store_true", "help": "print the command, and run nothing"},
}

_SECONDS_TO_REACH = 10
_SECONDS_TO_ANSWER = 30
_SSH_OPTIONS = ("-o", "BatchMode=yes", "-o", f"ConnectTimeout={_SECONDS_TO_REACH}")
SECONDS_TO_END = 30
"""How long ranks have from SIGTERM to SIGKILL, to save a checkpoint."""

_FORWARDED = ("CNN_", "HOROVOD_", "NCCL_", "OMPI_MCA_", "OMP_", "TF_", "XLA_", "CUDA_")
_ALSO_FORWARDED = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "COLUMNS")
_OF_LAUNCHERS = ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL", "HOROVOD_CROSS", "HOROVOD_GLOO", "OMPI_MCA_orte_")


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and what follows -- for the program."""
    own, programs = list(arguments), []
    if "--" in own:
        end = own.index("--")
        own, programs = own[:end], own[end + 1 :]
    parser = argparse.ArgumentParser(
        prog=f"launch/{own[0] if own else 'mpirun'}.sh",
        usage="%(prog)s [options] -- ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("launcher", choices=("mpirun", "horovodrun"), help=argparse.SUPPRESS)
    for names, options in _OPTIONS.items():
        parser.add_argument(*names, **options)
    return parser.parse_args(own), programs


def forwarded(environ: Mapping[str, str]) -> list[str]:
    """Names of the environment variables that ranks on other hosts need."""
    return sorted(
        name
        for name in environ
        if name in _ALSO_FORWARDED or (name.startswith(_FORWARDED) and not name.startswith(_OF_LAUNCHERS))
    )


def mpirun_command(
    hosts: Sequence[Host] | None,
    workers: int,
    program: Sequence[str],
    environ: Mapping[str, str],
    interface: str | None,
) -> list[str]:
    """The command for Open MPI 4.1."""
    command = ["mpirun", "-np", str(workers)]
    if os.geteuid() == 0:
        command.append("--allow-run-as-root")
    if hosts is None:
        command.append("--oversubscribe")
    else:
        command += [
            "-H",
            host_list(hosts),
            "--mca",
            "plm_rsh_args",
            f"-o BatchMode=yes -o ConnectTimeout={_SECONDS_TO_REACH}",
        ]
    # cnn.cluster.launch divides a host's cores among its ranks; Open MPI would give each a single one.
    command += ["--bind-to", "none", "--mca", "odls_base_sigkill_timeout", str(SECONDS_TO_END)]
    if interface is not None:
        command += ["--mca", "btl_tcp_if_include", interface, "--mca", "oob_tcp_if_include", interface]
    for name in forwarded(environ):
        command += ["-x", name]
    return [*command, *program]


def horovodrun_command(
    hosts: Sequence[Host] | None, workers: int, program: Sequence[str], controller: str, interface: str | None
) -> list[str]:
    """The command for Horovod's launcher, which forwards the environment itself."""
    command = ["horovodrun", f"--{controller}", "-np", str(workers), "--start-timeout", "120"]
    if hosts is not None:
        command += ["-H", host_list(hosts)]
    if interface is not None:
        command += ["--network-interfaces", interface]
    return [*command, *program]


def local_devices() -> int:
    """GPUs of this machine, or its cores where it has none."""
    gpus = list(Path("/dev").glob("nvidia[0-9]*"))
    return len(gpus) or len(os.sched_getaffinity(0))


def count_workers(asked: int | None, hosts: Sequence[Host] | None) -> int:
    """How many ranks to start; UserError when the hosts have no room for them."""
    if asked is not None and asked < 1:
        raise UserError(f"-np {asked} is less than 1: give a number of ranks, or leave it out.")
    if hosts is None:
        return local_devices() if asked is None else asked
    room = sum(host.slots for host in hosts)
    if asked is not None and asked > room:
        raise UserError(f"-np {asked} is more than the {room} ranks of {host_list(hosts)}: give fewer, or more hosts.")
    return room if asked is None else asked


def check_hosts(hosts: Sequence[Host], python: str) -> None:
    """Asks each other host, all at once, whether it can be entered and has this environment.

    Raises:
        RunError: one cannot; says which and why.
    """
    others = [host for host in hosts if not is_this_machine(host.name)]
    with ThreadPoolExecutor(max(1, min(64, len(others)))) as pool:
        for fault in pool.map(lambda host: _fault_of(host, python), others):
            if fault:
                raise RunError(fault)


def is_this_machine(name: str) -> bool:
    """Whether a name is that of the machine that this runs on."""
    return name in ("localhost", "127.0.0.1", socket.gethostname(), socket.gethostname().partition(".")[0])


def _fault_of(host: Host, python: str) -> str | None:
    question = f"test -x {shlex.quote(python)} && cd {shlex.quote(os.getcwd())}"
    command = ["ssh", *_SSH_OPTIONS, host.name, question]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS_TO_ANSWER, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the host {host.name} did not answer within {_SECONDS_TO_ANSWER} s: look whether it is well."
    except OSError as error:
        return f"ssh cannot be started ({error.strerror}): install it, it starts the ranks on other hosts."
    if done.returncode == 0:
        return None
    if done.returncode == 255:
        reason = " ".join((done.stderr.strip().splitlines() or ["ssh gave no reason"])[-1].split()).rstrip(".")
        return (
            f"the host {host.name} cannot be entered ({reason}): `ssh {host.name} true` must work without a password."
        )
    return (
        f"the host {host.name} lacks {python} or the folder {os.getcwd()}: put this folder there at the same path and "
        "run launch/setup.sh in it."
    )


def main() -> None:
    """Checks what was asked for, and becomes the launcher."""
    given, arguments = parse(sys.argv[1:])
    hosts = find_hosts(given.hosts, given.hostfile, os.environ)
    workers = count_workers(given.workers, hosts)
    if not Path(given.program).is_file():
        raise UserError(f"--program {given.program} is no file: name a program, jobs/train.py say.")
    if given.interface is not None and not Path("/sys/class/net", given.interface).exists():
        found = ", ".join(sorted(path.name for path in Path("/sys/class/net").iterdir()))
        raise UserError(f"--interface {given.interface} is not one of this machine's: choose one of {found}.")
    program = [sys.executable, given.program, *arguments]
    if given.launcher == "mpirun":
        command = mpirun_command(hosts, workers, program, os.environ, given.interface)
    else:
        command = horovodrun_command(hosts, workers, program, given.controller, given.interface)
    if given.dry_run:
        print(shlex.join(command))
        return
    if not shutil.which(command[0]):
        raise UserError(f"{command[0]} is not on PATH: run launch/setup.sh, or this by launch/{command[0]}.sh.")
    if hosts is not None:
        check_hosts(hosts, sys.executable)
    os.execvp(command[0], command)


if __name__ == "__main__":
    with told():
        main()
