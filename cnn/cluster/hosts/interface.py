"""The network interface by which a job's hosts reach each other."""

import socket
from collections.abc import Sequence

import psutil

from cnn.cluster.hosts.this_machine import is_this_machine
from cnn.errors import UserError

_ELSEWHERE = "192.0.2.1"
"""A documentation address (RFC 5737), which belongs to no host."""


def interface_to(names: Sequence[str]) -> str:
    """Returns the network interface by which this machine reaches other hosts.

    Args:
        names: the job's hosts, with or without this machine. If there are no others, the result is the interface of the
            default route, as other hosts may join, or lo without a default route.

    Raises:
        UserError: a host's name is unknown or no route leads to it.
    """
    others = [name for name in names if not is_this_machine(name)]
    target = others[0] if others else _ELSEWHERE
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))  # sends nothing
            local_address = probe.getsockname()[0]
    except (OSError, UnicodeError) as error:
        if not others:
            return "lo"
        raise UserError(f"the host {target} is unknown or unreachable from here ({error}): check its name.") from error
    addresses = psutil.net_if_addrs()
    found = [name for name, each in addresses.items() if local_address in {address.address for address in each}]
    return found[0] if found else "lo"


def address_of(interface: str) -> str:
    """Returns the IPv4 address of an interface of this machine; UserError if it has none, listing those that do."""
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
