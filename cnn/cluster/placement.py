"""Whether ranks run on the hosts that they were meant for: a launcher that overlooks its hostfile starts all on one."""

from collections import Counter
from collections.abc import Sequence

from cnn.cluster.hosts import parse_hosts
from cnn.errors import UserError

PLACEMENT = "CNN_PLACEMENT"
"""The environment variable by which launch/mpirun.sh tells ranks of pods where they belong: a:4,b:4."""


def misplacement(hosts_of_ranks: Sequence[str], meant: str | None) -> UserError | None:
    """Says which host has more ranks than it was meant to; None where none has.

    Args:
        hosts_of_ranks: what each rank's host calls itself. First labels are compared: a pod calls itself by that alone.
        meant: hosts and the most ranks on each, a:4,b:4; None where it was not said.
    """
    if meant is None:
        return None
    most = {host.name.partition(".")[0]: host.slots for host in parse_hosts(meant, PLACEMENT)}
    for host, count in Counter(name.partition(".")[0] for name in hosts_of_ranks).items():
        if count > most.get(host, 0):
            return UserError(
                f"{count} ranks run on {host} where {most.get(host, 0)} were meant to ({meant}): start them with the "
                "Open MPI that launch/setup.sh installs."
            )
    return None
