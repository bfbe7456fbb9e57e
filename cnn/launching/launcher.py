"""Starts a job on one host or on several by mpirun or horovodrun, after checking that it can work.

  bash launch/mpirun.sh -H a:4,b:4 -- --model vgg16 --data oxflower17
  bash launch/horovodrun.sh -np 2 -- --model lenet5
  bash launch/mpirun.sh --hostfile hosts.txt --program jobs/doctor.py

Arguments after -- are passed to the program unchanged. Every host needs this folder at the same path, set up by
launch/setup.sh, and must accept ssh from here without a password.
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
from cnn.cluster.hosts.host_mapping_check import INTENDED_HOSTS, intended_hosts
from cnn.cluster.hosts.hosts import Host, find_hosts, host_list, merge_names_of_this_machine
from cnn.cluster.hosts.this_machine import has_domain
from cnn.cluster.launchers.command_line import COMMAND
from cnn.cluster.launchers.horovodrun import subprocess_command
from cnn.cluster.launchers.left_over import prepare_launch
from cnn.cluster.launchers.process import DEVICES
from cnn.errors import UserError, report_errors
from cnn.launching.await_hosts import await_hosts
from cnn.launching.host_check import CONNECT_TIMEOUT_SECONDS, check_hosts, check_path, devices_here, gpus_for_ranks
from cnn.launching.supervision import run_horovodrun, run_mpirun
from cnn.terminal import pass_terminal_on

_OPTIONS: dict[tuple[str, ...], dict[str, Any]] = {
    ("-H", "--hosts"): {"help": "hosts and the ranks on each: a:4,b:4 (or $CNN_HOSTS)"},
    ("--hostfile",): {"help": "file with 'NAME slots=4' on each line (or $CNN_HOSTFILE)"},
    ("-np", "--workers"): {"type": int, "help": "ranks; default: one per slot, GPU, or core if there is no GPU"},
    ("--interface",): {
        "default": os.environ.get("CNN_INTERFACE") or None,
        "help": "network interface (or $CNN_INTERFACE)",
    },
    ("--controller",): {"choices": ("mpi", "gloo"), "default": "gloo", "help": "how horovodrun connects ranks"},
    ("--device",): {
        "default": os.environ.get("CNN_DEVICE"),
        "help": "gpu or cpu: what ranks must compute on (or $CNN_DEVICE); default: GPUs if a host has any",
    },
    ("--oversubscribe",): {"action": "store_true", "help": "allow more ranks on a host than it has GPUs or cores"},
    ("--wait",): {"type": int, "default": 0, "help": "seconds to wait for hosts that are still starting, such as pods"},
    ("--program",): {"default": "jobs/train.py", "help": "program to run; default: jobs/train.py"},
    ("--dry_run",): {"action": "store_true", "help": "print the command instead of running it"},
}

_ENVIRONMENT = Path(sys.prefix)
"""The environment in which Python and the launchers are installed."""

_KILL_AFTER_SECONDS = 2
"""Time between SIGTERM and SIGKILL for the other ranks when one has failed. mpirun always waits that long, on one host
after the other."""

_KILL_TIMEOUT = ("--mca", "odls_base_sigkill_timeout", str(_KILL_AFTER_SECONDS))
_PREFIX = ("--prefix", str(_ENVIRONMENT))
"""Open MPI's path, which is the same on other hosts, where it is not on ssh's PATH."""

_KEEP_DOMAINS = ("--mca", "orte_keep_fqdn_hostnames", "true")
"""For host names with a domain: otherwise Open MPI removes it, and ssh may not find the host. Not for names without:
with this option Open MPI would not recognise a host that reports its name with a domain."""

_FORWARDED = ("CNN_", "HOROVOD_", "NCCL_", "OMPI_MCA_", "OMP_", "TF_", "XLA_", "CUDA_")
_ALSO_FORWARDED = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "COLUMNS")
_OF_LAUNCHERS = ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL", "HOROVOD_CROSS", "HOROVOD_GLOO", "OMPI_MCA_orte_")


class Parser(argparse.ArgumentParser):
    """Reports mistakes in the same form as the other programs."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help lists the options.")


def divide_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits arguments at --."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


def script_command(launcher: str, options: Sequence[str]) -> str:
    """The command line of one of the scripts in launch/, up to the program's options."""
    return shlex.join(["bash", f"launch/{launcher}.sh", *options, "--"])


def find_launchers() -> None:
    """Puts the mpirun and horovodrun that are installed with this Python first on PATH."""
    os.environ["PATH"] = f"{_ENVIRONMENT / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parses the options, and returns the program's arguments after -- unparsed."""
    options, program_arguments = divide_arguments(arguments)
    parser = Parser(
        prog=f"launch/{options[0] if options else 'mpirun'}.sh",
        usage="%(prog)s [options] -- ...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("launcher", choices=("mpirun", "horovodrun"), help=argparse.SUPPRESS)
    for names, keywords in _OPTIONS.items():
        parser.add_argument(*names, **keywords)
    return parser.parse_args(options), program_arguments


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
        command += [*_PREFIX, *_domain_option(hosts), "-H", host_list(hosts)]
        command += ["--mca", "plm_rsh_args", f"-o BatchMode=yes -o ConnectTimeout={CONNECT_TIMEOUT_SECONDS}"]
    # cnn.cluster.launchers.process divides a host's cores among its ranks; Open MPI would bind each to a single one.
    command += ["--bind-to", "none", *_KILL_TIMEOUT]
    if interface is not None:
        command += ["--mca", "btl_tcp_if_include", interface, "--mca", "oob_tcp_if_include", interface]
    for name in forwarded(environ):
        command += ["-x", name]
    return [*command, *program]


def horovodrun_command(
    hosts: Sequence[Host] | None, workers: int, program: Sequence[str], controller: str, interface: str | None
) -> list[str]:
    """The command for Horovod's launcher, which forwards the complete environment."""
    command = ["horovodrun", f"--{controller}", "-np", str(workers), "--start-timeout", "120"]
    if hosts is not None:
        command += ["-H", host_list(hosts)]
    if controller == "mpi":
        command += ["--mpi-args", shlex.join([*_PREFIX, *_domain_option(hosts or []), *_KILL_TIMEOUT])]
    if interface is not None:
        command += ["--network-interfaces", interface]
    return [*command, *program]


def _domain_option(hosts: Sequence[Host]) -> Sequence[str]:
    return _KEEP_DOMAINS if any(has_domain(host.name) for host in hosts) else ()


def count_workers(requested: int | None, hosts: Sequence[Host] | None, environ: Mapping[str, str]) -> int:
    """The number of ranks to start; UserError if the hosts have too few slots."""
    if requested is not None and requested < 1:
        raise UserError(f"-np {requested} is less than 1: give a number of ranks, or leave it out.")
    if hosts is None:
        here = devices_here()
        return requested or len(gpus_for_ranks(here.gpus, environ)) or here.cores
    slots = sum(host.slots for host in hosts)
    if requested is not None and requested > slots:
        raise UserError(f"-np {requested} exceeds the {slots} ranks of {host_list(hosts)}: reduce it, or add hosts.")
    return slots if requested is None else requested


def main() -> None:
    """Checks the options and the hosts, and runs the launcher."""
    given, arguments = parse(sys.argv[1:])
    controller = "mpi" if given.launcher == "mpirun" else given.controller
    prepare_launch(os.environ, controller, interactive=sys.stdin is not None and sys.stdin.isatty())
    find_launchers()
    hosts = find_hosts(given.hosts, given.hostfile, os.environ)
    check_path(hosts or [], str(_ENVIRONMENT))
    if not Path(given.program).is_file():
        raise UserError(f"--program {given.program} is not a file: name a program, for example jobs/train.py.")
    if given.device is not None:
        check_choice("device", given.device, DEVICES)
        os.environ["CNN_DEVICE"] = given.device
    workers = count_workers(given.workers, hosts, os.environ)
    if hosts is not None and given.wait and not given.dry_run:
        await_hosts([host.name for host in hosts], given.wait)
        hosts = merge_names_of_this_machine(hosts)  # of which some may have been unknown until now
    if given.interface is not None:
        os.environ.setdefault("NCCL_SOCKET_IFNAME", given.interface)
    if hosts is not None and given.wait:
        os.environ[INTENDED_HOSTS] = intended_hosts(hosts)
    program = [sys.executable, given.program, *arguments]
    if not given.dry_run:
        os.environ[COMMAND] = script_command(given.launcher, divide_arguments(sys.argv[2:])[0])
        if given.launcher == "mpirun":  # horovodrun does it itself
            pass_terminal_on(os.environ)
    if given.launcher == "mpirun":
        command = mpirun_command(hosts, workers, program, os.environ, given.interface)
    else:
        command = horovodrun_command(hosts, workers, program, given.controller, given.interface)
    if given.dry_run:
        print(shlex.join(command))
        return
    if not shutil.which(command[0]):
        raise UserError(f"{command[0]} is not installed in {_ENVIRONMENT}: run launch/setup.sh.")
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
