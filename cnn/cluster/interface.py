"""The network interface by which a job's hosts reach each other."""

import socket
from collections.abc import Sequence

import psutil

from cnn.cluster.this_machine import is_this_machine
from cnn.errors import UserError

_ELSEWHERE = "192.0.2.1"
"""An address of RFC 5737, which no host that is reached has."""


def interface_to(names: Sequence[str]) -> str:
    """The network interface by which this machine reaches other hosts.

    Args:
        names: those of the job, this machine perhaps among them. Without others it is the interface of the default
            route, as some may join; without such a route, lo.

    Raises:
        UserError: there is no way to a host.
    """
    others = [name for name in names if not is_this_machine(name)]
    target = others[0] if others else _ELSEWHERE
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))  # sends nothing
            own = probe.getsockname()[0]
    except (OSError, UnicodeError) as error:
        if not others:
            return "lo"
        raise UserError(f"the host {target} is not known here ({error}): look at its name.") from error
    addresses = psutil.net_if_addrs()
    found = [name for name, each in addresses.items() if own in {address.address for address in each}]
    return found[0] if found else "lo"


def address_of(interface: str) -> str:
    """The IPv4 address of an interface of this machine; UserError, naming those that have one, where it has none."""
    addresses: dict[str, str] = {
        name: address.address
        for name, each in psutil.net_if_addrs().items()
        for address in each
        if address.family == socket.AF_INET
    }
    if interface not in addresses:
        raise UserError(
            f"this machine has no network interface {interface} with an IPv4 address: choose one of "
            f"{', '.join(sorted(addresses))}."
        )
    return addresses[interface]
