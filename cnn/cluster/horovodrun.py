"""Horovod's horovodrun, in this process: `python -m cnn.cluster.horovodrun -np 2 python jobs/train.py`.

It is also the `horovodrun` of this environment. It exits as the ranks do, and no stranger can speak to the job:
cnn.cluster.rendezvous.
"""

import os
import re
import secrets
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cnn.cluster.host_script import HostScript, ask
from cnn.cluster.interface import address_of, interface_to
from cnn.errors import RunError, report_errors
from cnn.quiet_import import import_tensorflow_quietly

_SECRET = "_HOROVOD_SECRET_KEY"
"""The one variable that Horovod keeps out of command lines, which everyone on a host can read."""


def as_a_process(command: Sequence[str]) -> list[str]:
    """What starts a process that does what a command of horovodrun does, and writes and exits as our programs do."""
    return [sys.executable, "-m", "cnn.cluster.horovodrun", *command[1:]]


def become_horovodrun(command: Sequence[str]) -> NoReturn:
    """Does what the command does, and exits.

    By itself it writes lines of TensorFlow's, which it loads, and ends with a traceback when a rank fails; here it ends
    with the exit code of the first rank that did.
    """
    import_tensorflow_quietly()
    from horovod.runner import launch

    os.environ[_SECRET] = secrets.token_hex(16)
    _listen_to_none_but_ranks()
    launch._run_static = _on_one_interface(launch._run_static)
    launch._run_elastic = _on_one_interface(launch._run_elastic)
    launch.discovery.HostDiscoveryScript = HostScript
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
    """Has ranks, and the server by which they find each other, on one interface, which is chosen here if not given.

    Horovod would open servers on all hosts to find one, and run what is sent to these by whoever knows a key that
    stands in their command lines.
    """
    from horovod.runner import gloo_run

    from cnn.cluster.rendezvous import Rendezvous

    def run_there(args: Any) -> Any:
        if not args.nics:
            args.nics = {_interface_for(args)}
        address = address_of(next(iter(args.nics)))
        gloo_run.RendezvousServer = lambda verbose: Rendezvous(address, os.environ[_SECRET], verbose)
        return run(args)

    return run_there


def _interface_for(args: Any) -> str:
    from horovod.runner.common.util.hosts import parse_hosts_and_slots
    from horovod.runner.util.network import filter_local_addresses

    if args.host_discovery_script:
        return interface_to([host.name for host in ask(Path(args.host_discovery_script))])
    others = filter_local_addresses(parse_hosts_and_slots(args.hosts)[0])
    return interface_to(others) if others else "lo"


def _listen_to_none_but_ranks() -> None:
    """Hands the secret to the ranks, beside their command lines, and takes that for a worker which they ask."""
    from horovod.runner import gloo_run
    from horovod.runner.driver import driver_service
    from horovod.runner.elastic.driver import ElasticDriver

    from cnn.cluster.rendezvous import address_with_secret

    variables, way = gloo_run.create_run_env_vars, gloo_run.get_remote_command

    def with_secret(address: str, nics: Any, port: int, *rest: Any, **more: Any) -> dict[str, Any]:
        known = address_with_secret(address, port, f"${_SECRET}")  # the shell that starts a rank knows it
        return {**variables(address, nics, port, *rest, **more), "HOROVOD_GLOO_RENDEZVOUS_ADDR": known}

    def way_of_secret(command: str, **how: Any) -> str:
        (line,) = shlex.split(command)
        there = f"sh -c {shlex.quote(f'read -r {_SECRET}; {line}')}"  # whatever shell the user has there
        return f'printf "%s\\n" "${_SECRET}" | {way(shlex.quote(there), **how)}'

    gloo_run.create_run_env_vars, gloo_run.get_remote_command = with_secret, way_of_secret
    # On hosts that are all this one it takes lo, whatever it is told to take, and others could not join them later.
    driver_service.get_local_interfaces = lambda settings: settings.nics
    ElasticDriver.get_worker_client = lambda driver, slot: driver._rendezvous


def main() -> NoReturn:
    """The program."""
    with report_errors(starts_ranks=True):
        become_horovodrun(["horovodrun", *sys.argv[1:]])


if __name__ == "__main__":
    main()
