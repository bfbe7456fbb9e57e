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
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cnn.choices import check_choice
from cnn.cluster.horovodrun import subprocess_command
from cnn.cluster.hosts import Host, find_hosts, host_list
from cnn.cluster.left_over import prepare_launch
from cnn.cluster.placement import PLACEMENT, placement
from cnn.cluster.process import DEVICES
from cnn.cluster.this_machine import has_domain, is_this_machine
from cnn.errors import UserError, report_errors
from cnn.launching.await_hosts import await_hosts
from cnn.launching.host_check import SECONDS_TO_REACH, check_hosts, check_path, devices_here, gpus_for_ranks
from cnn.launching.supervision import run_horovodrun, run_mpirun

_OPTIONS: dict[tuple[str, ...], dict[str, Any]] = {
    ("-H", "--hosts"): {"help": "hosts and the ranks on each: a:4,b:4 (or $CNN_HOSTS)"},
    ("--hostfile",): {"help": "file with 'NAME slots=4' in each line (or $CNN_HOSTFILE)"},
    ("-np", "--workers"): {"type": int, "help": "ranks; else one for each slot, GPU, or core where there is no GPU"},
    ("--interface",): {
        "default": os.environ.get("CNN_INTERFACE") or None,
        "help": "network interface (or $CNN_INTERFACE)",
    },
    ("--controller",): {"choices": ("mpi", "gloo"), "default": "gloo", "help": "how horovodrun connects ranks"},
    ("--device",): {
        "default": os.environ.get("CNN_DEVICE"),
        "help": "gpu or cpu: what ranks must compute on (or $CNN_DEVICE); else GPUs where a host has some",
    },
    ("--oversubscribe",): {"action": "store_true", "help": "allow more ranks on a host than it has GPUs or cores"},
    ("--wait",): {"type": int, "default": 0, "help": "seconds to wait for hosts that are still coming up, as pods are"},
    ("--program",): {"default": "jobs/train.py", "help": "what to run; jobs/train.py when left out"},
    ("--dry_run",): {"action": "store_true", "help": "print the command, and run nothing"},
}

_ENVIRONMENT = Path(sys.executable).parents[1]
"""Where Python and the launchers are installed."""

_SECONDS_TO_END = 2
"""How long ranks have from SIGTERM to SIGKILL when one of them has failed. mpirun waits for it always, and on one host
after the other."""

_TIME_TO_END = ("--mca", "odls_base_sigkill_timeout", str(_SECONDS_TO_END))
_PREFIX = ("--prefix", str(_ENVIRONMENT))
"""Other hosts have Open MPI there, too, and ssh's PATH does not tell."""

_WHOLE_NAMES = ("--mca", "orte_keep_fqdn_hostnames", "true")
"""Or Open MPI cuts a host's name at its first point, and asks ssh for a host that only its own domain knows. With short
names it would not find a host that calls itself by a long one."""

_FORWARDED = ("CNN_", "HOROVOD_", "NCCL_", "OMPI_MCA_", "OMP_", "TF_", "XLA_", "CUDA_")
_ALSO_FORWARDED = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "COLUMNS")
_OF_LAUNCHERS = ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL", "HOROVOD_CROSS", "HOROVOD_GLOO", "OMPI_MCA_orte_")


class Parser(argparse.ArgumentParser):
    """Tells a mistake as all programs do."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help lists the options.")


def divide_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is before -- and what follows it."""
    both = list(arguments)
    end = both.index("--") if "--" in both else len(both)
    return both[:end], both[end + 1 :]


def find_launchers() -> None:
    """From now on mpirun and horovodrun are those that are installed beside this Python."""
    os.environ["PATH"] = f"{_ENVIRONMENT / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and what follows -- for the program."""
    own, programs = divide_arguments(arguments)
    parser = Parser(
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
        command += [*_PREFIX, *_as_named(hosts), "-H", host_list(hosts)]
        command += ["--mca", "plm_rsh_args", f"-o BatchMode=yes -o ConnectTimeout={SECONDS_TO_REACH}"]
    # cnn.cluster.process divides a host's cores among its ranks; Open MPI would give each a single one.
    command += ["--bind-to", "none", *_TIME_TO_END]
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
    if controller == "mpi":
        command += ["--mpi-args", shlex.join([*_PREFIX, *_as_named(hosts or []), *_TIME_TO_END])]
    if interface is not None:
        command += ["--network-interfaces", interface]
    return [*command, *program]


def _as_named(hosts: Sequence[Host]) -> Sequence[str]:
    return _WHOLE_NAMES if any(has_domain(host.name) for host in hosts) else ()


def count_workers(asked: int | None, hosts: Sequence[Host] | None, environ: Mapping[str, str]) -> int:
    """How many ranks to start; UserError when the hosts have no room for them."""
    if asked is not None and asked < 1:
        raise UserError(f"-np {asked} is less than 1: give a number of ranks, or leave it out.")
    if hosts is None:
        here = devices_here()
        return asked or len(gpus_for_ranks(here.gpus, environ)) or here.cores
    room = sum(host.slots for host in hosts)
    if asked is not None and asked > room:
        raise UserError(f"-np {asked} is more than the {room} ranks of {host_list(hosts)}: give fewer, or more hosts.")
    return room if asked is None else asked


def main() -> None:
    """Checks what was asked for, and runs the launcher."""
    given, arguments = parse(sys.argv[1:])
    controller = "mpi" if given.launcher == "mpirun" else given.controller
    prepare_launch(os.environ, controller, interactive=sys.stdin is not None and sys.stdin.isatty())
    find_launchers()
    hosts = find_hosts(given.hosts, given.hostfile, os.environ)
    check_path(hosts or [], str(_ENVIRONMENT))
    if not Path(given.program).is_file():
        raise UserError(f"--program {given.program} is no file: name a program, jobs/train.py say.")
    if given.device is not None:
        check_choice("device", given.device, DEVICES)
        os.environ["CNN_DEVICE"] = given.device
    workers = count_workers(given.workers, hosts, os.environ)
    if given.interface is not None:
        os.environ.setdefault("NCCL_SOCKET_IFNAME", given.interface)
    if hosts is not None and given.wait:
        os.environ[PLACEMENT] = placement(hosts)
    program = [sys.executable, given.program, *arguments]
    if given.launcher == "mpirun":
        command = mpirun_command(hosts, workers, program, os.environ, given.interface)
    else:
        command = horovodrun_command(hosts, workers, program, given.controller, given.interface)
    if given.dry_run:
        print(shlex.join(command))
        return
    if not shutil.which(command[0]):
        raise UserError(f"{command[0]} is not installed in {_ENVIRONMENT}: run launch/setup.sh.")
    if hosts is not None and given.wait:
        await_hosts([host.name for host in hosts if not is_this_machine(host.name)], given.wait)
    here = Host(name="localhost", slots=workers)
    check_hosts(
        hosts or [here],
        sys.executable,
        os.environ,
        oversubscribe=given.oversubscribe,
        interface=given.interface,
    )
    if given.launcher == "horovodrun":
        run_horovodrun(subprocess_command(command), program)
    run_mpirun(command)


if __name__ == "__main__":
    with report_errors(starts_ranks=True):
        main()
