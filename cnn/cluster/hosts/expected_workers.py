"""Checks that a job has the workers that were ordered.

An operator, or an MPI that ignores its hostfile, may start fewer of them, or all on one host.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from cnn.cluster.hosts.this_machine import comparable
from cnn.errors import UserError

HOSTS = "CNN_EXPECTED_HOSTS"
"""The environment variable with the number of hosts, 2, or the range of numbers, 1-3, that a job must have."""

WORKERS_PER_HOST = "CNN_EXPECTED_WORKERS_PER_HOST"
"""The environment variable with the number of workers that each host must have."""


def unexpected_workers(hosts_of_workers: Sequence[str], environ: Mapping[str, str]) -> UserError | None:
    """Returns an error if the workers are not those that the environment variables order; None if they are.

    Args:
        hosts_of_workers: each worker's host name.
        environ: the environment; what no variable orders is not checked.
    """
    counts = Counter(map(comparable, hosts_of_workers))
    ordered_hosts, ordered_workers = environ.get(HOSTS), environ.get(WORKERS_PER_HOST)
    right_hosts = ordered_hosts is None or _within(len(counts), ordered_hosts)
    right_workers = ordered_workers is None or all(_within(count, ordered_workers) for count in counts.values())
    if right_hosts and right_workers:
        return None
    orders = ", ".join(f"{name}={environ[name]}" for name in (HOSTS, WORKERS_PER_HOST) if name in environ)
    found = ", ".join(f"{count} on {host}" for host, count in sorted(counts.items()))
    return UserError(
        f"the job's workers are not those that its manifest orders ({orders}): there are {found}. Check the hostfile "
        "that the operator made and which MPI starts the job; or change the variables to what you want."
    )


def _within(number: int, ordered: str) -> bool:
    """Whether a number is the one ordered, 2, or in the ordered range, 1-3."""
    least, _, most = ordered.partition("-")
    return int(least) <= number <= int(most or least)
