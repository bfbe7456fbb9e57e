"""Checks that ranks run on the intended hosts: a launcher that ignores its hostfile starts all of them on one."""

import dataclasses
import socket
from collections import Counter
from collections.abc import Sequence

from cnn.cluster.hosts.hosts import Host, host_list, parse_hosts
from cnn.cluster.hosts.this_machine import LOCALHOST, comparable, may_be_same_host
from cnn.errors import UserError

INTENDED_HOSTS = "CNN_PLACEMENT"
"""The environment variable by which launch/mpirun.sh passes the intended hosts to ranks in pods: a:4,b:4."""


def intended_hosts(hosts: Sequence[Host]) -> str:
    """The variable's value for these hosts; `localhost`, a different machine on each host, becomes this host's name."""
    local_name = socket.gethostname()
    return host_list([dataclasses.replace(host, name=local_name) if host.name == LOCALHOST else host for host in hosts])


def misplacement_error(hosts_of_ranks: Sequence[str], intended: str | None) -> UserError | None:
    """Returns an error naming a host with more ranks than intended; None if there is none.

    Args:
        hosts_of_ranks: each rank's host name as the host itself reports it: a pod's name has no domain.
        intended: hosts and the maximum number of ranks on each, a:4,b:4; None if unknown.
    """
    if intended is None:
        return None
    hosts = parse_hosts(intended, INTENDED_HOSTS)
    for name, count in Counter(map(comparable, hosts_of_ranks)).items():
        max_count = sum(host.slots for host in hosts if may_be_same_host(host.name, name))
        if count > max_count:
            return UserError(
                f"{count} ranks run on {name}, {max_count} were intended ({intended}): start them with the Open MPI "
                "that launch/setup.sh installs."
            )
    return None
