"""Horovod's horovodrun, in this process: `python -m cnn.cluster.launchers.horovodrun -np 2 python jobs/train.py`.

It also replaces the `horovodrun` command of this environment. Unlike Horovod's it exits with the ranks' exit code, and
only processes that know the job's secret can talk to the job: cnn.cluster.launchers.rendezvous.
"""

import os
import re
import secrets
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cnn.cluster.hosts.host_script import HostScript, run_host_script
from cnn.cluster.hosts.interface import address_of, interface_to
from cnn.cluster.launchers.command_line import COMMAND, own_words
from cnn.errors import RunError, report_errors
from cnn.interruption import temporarily_exit_on_interrupt
from cnn.quiet_import import import_tensorflow_quietly
from cnn.terminal import pass_terminal_on

if TYPE_CHECKING:
    from cnn.cluster.launchers.rendezvous import Rendezvous

_SECRET = "_HOROVOD_SECRET_KEY"
"""The only variable that Horovod keeps out of command lines, which every user of a host can read."""

_PREFIX, _TIMESTAMP = "[1,0]<stdout>:", "Sun Nov 29 00:00:00 2026"
"""What Horovod puts in front of each line of rank 0; over Gloo it is `[0]<stdout>:`."""

_CHECK_BUILD = {"--check-build", "-cb"}
"""The options that list what Horovod was built with."""


def subprocess_command(command: Sequence[str]) -> list[str]:
    """The command that runs a horovodrun command through this module, with its messages and exit codes."""
    return [sys.executable, "-m", "cnn.cluster.launchers.horovodrun", *command[1:]]


def become_horovodrun(command: Sequence[str]) -> NoReturn:
    """Runs a horovodrun command in this process, and exits.

    Horovod's own program imports TensorFlow, for seconds and with log lines, to find out what Horovod was built with:
    here always MPI and Gloo, as set-up fails otherwise. When a rank fails, it ends with a traceback, and this one with
    the exit code of the first rank that failed.
    """
    if _CHECK_BUILD & set(command):
        import_tensorflow_quietly()
    with temporarily_exit_on_interrupt():
        from horovod.runner import launch

    os.environ[_SECRET] = secrets.token_hex(16)
    os.environ.setdefault(COMMAND, shlex.join(own_words()))
    _admit_only_ranks()
    launch._run_static = _on_one_interface(_with_terminal(launch._run_static))
    launch._run_elastic = _on_one_interface(_with_terminal(launch._run_elastic))
    launch.discovery.HostDiscoveryScript = HostScript
    launch.mpi_built = launch.gloo_built = lambda verbose=False: True
    sys.argv = list(command)
    try:
        launch.run_commandline()
    except RuntimeError as error:
        code = re.search(r"exit code:? (\d+)", str(error), re.IGNORECASE)
        if code is None:
            raise RunError(f"horovodrun: {' '.join(str(error).split())}") from error
        sys.exit(int(code[1]))
    sys.exit(0)


def _on_one_interface(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Binds the ranks and their rendezvous server to one network interface, which is chosen here if not specified.

    To find one, Horovod would open servers on all hosts, which execute whatever they receive from anyone who knows a
    key that is visible in their command lines.
    """
    from horovod.runner import gloo_run

    from cnn.cluster.launchers.rendezvous import Rendezvous

    def run_on_interface(args: Any) -> Any:
        if not args.nics:
            args.nics = {_interface_for(args)}
        address = address_of(next(iter(args.nics)))

        def make_server(verbose: int) -> Rendezvous:
            server = Rendezvous(address, os.environ[_SECRET], verbose)
            if args.host_discovery_script:
                _end_after_ranks(server)
            return server

        gloo_run.RendezvousServer = make_server
        return run(args)

    return run_on_interface


def _end_after_ranks(server: "Rendezvous") -> None:
    """Makes SIGUSR1 end an elastic job when its ranks, wherever they are, have saved; SIGTERM would end it at once."""

    def end() -> None:
        server.stop_ranks()
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGUSR1, lambda *_: threading.Thread(target=end, daemon=True).start())


def _with_terminal(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Tells the ranks of the terminal, if there is one."""

    def run_with_terminal(args: Any) -> Any:
        if not args.output_filename:  # what ranks write goes to files, too
            pass_terminal_on(os.environ, len(_PREFIX) + args.prefix_output_with_timestamp * len(_TIMESTAMP))
        return run(args)

    return run_with_terminal


def _interface_for(args: Any) -> str:
    from horovod.runner.common.util.hosts import parse_hosts_and_slots
    from horovod.runner.util.network import filter_local_addresses

    if args.host_discovery_script:
        return interface_to([host.name for host in run_host_script(Path(args.host_discovery_script))])
    others = filter_local_addresses(parse_hosts_and_slots(args.hosts)[0])
    return interface_to(others) if others else "lo"


def _admit_only_ranks() -> None:
    """Passes the secret to ranks outside command lines; the elastic driver notifies the server that they poll."""
    from horovod.runner import gloo_run
    from horovod.runner.driver import driver_service
    from horovod.runner.elastic.driver import ElasticDriver

    from cnn.cluster.launchers.rendezvous import address_with_secret

    create_variables, remote_command = gloo_run.create_run_env_vars, gloo_run.get_remote_command

    def with_secret(address: str, nics: Any, port: int, *rest: Any, **more: Any) -> dict[str, Any]:
        full_address = address_with_secret(address, port, f"${_SECRET}")  # expanded by the shell that starts a rank
        return {**create_variables(address, nics, port, *rest, **more), "HOROVOD_GLOO_RENDEZVOUS_ADDR": full_address}

    def with_secret_as_input(command: str, **options: Any) -> str:
        (line,) = shlex.split(command)
        reading = f"sh -c {shlex.quote(f'read -r {_SECRET}; {line}')}"  # whatever the user's login shell is
        return f'printf "%s\\n" "${_SECRET}" | {remote_command(shlex.quote(reading), **options)}'

    gloo_run.create_run_env_vars, gloo_run.get_remote_command = with_secret, with_secret_as_input
    # If all initial hosts are this machine, Horovod uses lo whatever was requested, and no other host could join later.
    driver_service.get_local_interfaces = lambda settings: settings.nics
    ElasticDriver.get_worker_client = lambda driver, slot: driver._rendezvous


def main() -> NoReturn:
    """Runs the program."""
    with report_errors(starts_ranks=True):
        become_horovodrun(["horovodrun", *sys.argv[1:]])


if __name__ == "__main__":
    main()
