"""How names of hosts compare, and which of them are this machine's."""

import functools
import ipaddress
import socket

import psutil

LOCALHOST = "localhost"
"""The one name of this machine that mpirun and horovodrun always know for it."""


def comparable(name: str) -> str:
    """The name as DNS sees it: capital letters and a point at the end make no other host."""
    return name.rstrip(".").lower()


def has_domain(name: str) -> bool:
    """Whether it is a name with a domain, and no address."""
    return "." in name and not name.replace(".", "").isdecimal()


def may_be_one(name: str, other: str) -> bool:
    """Whether two names can be one host's: they are equal, or one is the other without (a part of) the domain."""
    short, long = sorted((comparable(name), comparable(other)), key=len)
    return long == short or long.startswith(f"{short}.")


@functools.cache
def is_this_machine(name: str) -> bool:
    """Whether a name or an address is one of the machine that this runs on. Only for others' names DNS is asked."""
    plain = comparable(name)
    own = comparable(socket.gethostname())
    return plain in (LOCALHOST, own, own.partition(".")[0]) or any(map(_is_own, addresses_of(plain)))


def name_for_launchers(name: str) -> str:
    """A name by which mpirun and horovodrun, too, take this machine for the one that they run on.

    Horovod asks only for IPv4 addresses, and knows only those that interfaces have: not 127.0.1.1, for example, which
    Debian gives to the machine's name.
    """
    return name if _own_addresses() & set(addresses_of(name)) else LOCALHOST


def addresses_of(name: str) -> list[str]:
    """The addresses that a name, or an address, stands for; none where it is not known."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(address[4][0]).partition("%")[0] for address in found]


def _is_own(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback or address in _own_addresses()


def _own_addresses() -> set[str]:
    return {each.address.partition("%")[0] for found in psutil.net_if_addrs().values() for each in found}
