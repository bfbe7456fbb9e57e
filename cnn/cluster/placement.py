"""Whether ranks run on the hosts that they were meant for: a launcher that overlooks its hostfile starts all on one."""

import dataclasses
import socket
from collections import Counter
from collections.abc import Sequence

from cnn.cluster.hosts import Host, host_list, parse_hosts
from cnn.cluster.this_machine import LOCALHOST, comparable, may_be_one
from cnn.errors import UserError

PLACEMENT = "CNN_PLACEMENT"
"""The environment variable by which launch/mpirun.sh tells ranks of pods where they belong: a:4,b:4."""


def placement(hosts: Sequence[Host]) -> str:
    """The variable's value for these hosts: on each, `localhost` would be that one."""
    own = socket.gethostname()
    return host_list([dataclasses.replace(each, name=own) if each.name == LOCALHOST else each for each in hosts])


def misplacement(hosts_of_ranks: Sequence[str], meant: str | None) -> UserError | None:
    """Says which host has more ranks than it was meant to; None where none has.

    Args:
        hosts_of_ranks: what each rank's host calls itself: a pod by its name without the domain.
        meant: hosts and the most ranks on each, a:4,b:4; None where it was not said.
    """
    if meant is None:
        return None
    hosts = parse_hosts(meant, PLACEMENT)
    for name, count in Counter(map(comparable, hosts_of_ranks)).items():
        most = sum(host.slots for host in hosts if may_be_one(host.name, name))
        if count > most:
            return UserError(
                f"{count} ranks run on {name} where {most} were meant to ({meant}): start them with the Open MPI that "
                "launch/setup.sh installs."
            )
    return None
