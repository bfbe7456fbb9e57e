"""Compares host names, and recognises those of this machine."""

import ipaddress
import socket

import psutil

LOCALHOST = "localhost"
"""The only name that mpirun and horovodrun always recognise as this machine."""


def comparable(name: str) -> str:
    """The name in the form in which DNS compares it: lower case, without a trailing dot."""
    return name.rstrip(".").lower()


def has_domain(name: str) -> bool:
    """Whether it is a name with a domain, not an IPv4 address."""
    return "." in name and not name.replace(".", "").isdecimal()


def may_be_same_host(name: str, other: str) -> bool:
    """Whether two names may denote the same host: equal, or one is the other without (part of) its domain."""
    short, long = sorted((comparable(name), comparable(other)), key=len)
    return long == short or long.startswith(f"{short}.")


def is_this_machine(name: str) -> bool:
    """Whether a name or an address belongs to this machine. Resolves it only if it is not one of the usual names.

    A name is resolved again until it is known: that of a pod may be known only seconds after the pod has started.
    """
    plain = comparable(name)
    local_name = comparable(socket.gethostname())
    return plain in (LOCALHOST, local_name, local_name.partition(".")[0]) or any(
        map(_is_own, _known_addresses_of(plain))
    )


def name_for_launchers(name: str) -> str:
    """The given name of this machine, or `localhost` if mpirun and horovodrun would not recognise it.

    Horovod resolves names only to IPv4 addresses, and recognises only those of the interfaces: not 127.0.1.1, for
    example, to which Debian resolves the machine's name.
    """
    return name if _own_addresses() & set(addresses_of(name)) else LOCALHOST


def addresses_of(name: str) -> list[str]:
    """The addresses that a name or an address resolves to; empty if it is unknown."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(address[4][0]).partition("%")[0] for address in found]


_known: dict[str, list[str]] = {}


def _known_addresses_of(name: str) -> list[str]:
    """As `addresses_of`, which is asked once for a name that is known."""
    if not _known.get(name):
        _known[name] = addresses_of(name)
    return _known[name]


def _is_own(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback or address in _own_addresses()


def _own_addresses() -> set[str]:
    return {each.address.partition("%")[0] for found in psutil.net_if_addrs().values() for each in found}
