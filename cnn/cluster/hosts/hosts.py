"""The hosts of a job: from `-H a:4,b:4`, a hostfile, or the environment variables of a scheduler."""

import dataclasses
import ipaddress
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cnn.cluster.hosts.this_machine import LOCALHOST, comparable, is_this_machine, name_for_launchers
from cnn.errors import UserError
from cnn.output import print_to_stderr

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_MAX_SLOTS = 1024
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::(.*))?")
_LINE_SPACE = re.compile(r"\s*=\s*")
_SLOTS, _MAXIMUM = ("slots", "cpu", "count"), ("max_slots", "max-slots")
"""Open MPI's hostfile keys for the number of ranks, and for the maximum with oversubscription."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Host:
    """A machine and its number of ranks."""

    name: str
    slots: int


def parse_hosts(text: str, origin: str) -> list[Host]:
    """Reads `a:4,b:4`; a host without a number has one rank, and the numbers of a repeated host are added up.

    Args:
        text: the list.
        origin: the option or variable that holds it, for messages.

    Raises:
        UserError: a name or a number is invalid.
    """
    items = [item.strip() for item in text.strip().removesuffix(",").split(",")]
    return _merged([_host(*_name_and_slots(item), f"{origin} '{text}'") for item in items])


def read_hostfile(path: Path) -> list[Host]:
    """Reads a hostfile in the formats of several schedulers, with a host on each line and comments after #.

    Formats: `a slots=4 max_slots=8` (Open MPI), `a:4` (other MPIs), `a` once per rank (PBS, LSF and `srun hostname`),
    `a 4 queue@a UNDEFINED` (Grid Engine).

    Raises:
        UserError: the file cannot be read or is empty, or a line, which is named, has none of these formats.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise UserError(f"the hostfile {path} cannot be read ({reason}): it must have a host on each line.") from error
    hosts = []
    for number, line in enumerate(lines, start=1):
        content = line.partition("#")[0].strip()
        if content:
            hosts.append(_host_of_line(content, f"line {number} of the hostfile {path}, '{content}'"))
    if not hosts:
        raise UserError(f"the hostfile {path} names no host: write one on each line, for example 'NAME slots=4'.")
    return _merged(hosts)


def find_hosts(given: str | None, hostfile: str | None, environ: Mapping[str, str]) -> list[Host] | None:
    """Returns the hosts from the options, else from the environment; None if neither names any: this machine only.

    The environment variables are CNN_HOSTS, CNN_HOSTFILE, and OMPI_MCA_orte_default_hostfile, which the MPI operator of
    Kubernetes sets. A warning is printed if several names denote this machine.
    """
    hosts = _named_hosts(given, hostfile, environ)
    return None if hosts is None else merge_names_of_this_machine(hosts)


def _named_hosts(given: str | None, hostfile: str | None, environ: Mapping[str, str]) -> list[Host] | None:
    if given is not None and hostfile is not None:
        raise UserError(f"-H {given} and --hostfile {hostfile} exclude each other: leave one out.")
    if given is not None:
        return parse_hosts(given, "-H")
    if hostfile is not None:
        return read_hostfile(Path(hostfile))
    if environ.get("CNN_HOSTS"):
        return parse_hosts(environ["CNN_HOSTS"], "CNN_HOSTS")
    for name in ("CNN_HOSTFILE", "OMPI_MCA_orte_default_hostfile"):
        if environ.get(name):
            return read_hostfile(Path(environ[name]))
    return None


def merge_names_of_this_machine(hosts: Sequence[Host]) -> list[Host]:
    """Merges entries that denote this machine by different names or addresses into one; a warning names them.

    The merged entry keeps the first name, unless horovodrun would mistake it for another machine's.

    Args:
        hosts: entries with different names.
    """
    with ThreadPoolExecutor(min(64, len(hosts))) as pool:
        are_local = list(pool.map(is_this_machine, [host.name for host in hosts]))
    local = [host for host, is_local in zip(hosts, are_local, strict=True) if is_local]
    if len(local) > 1:
        first, last = ", ".join(host.name for host in local[:-1]), local[-1].name
        slots = sum(host.slots for host in local)
        print_to_stderr(
            f"warning: {first} and {last} are names of this machine: counted as one host with {slots} slots."
        )
    name = name_for_launchers(local[0].name) if local else ""
    renamed = [
        dataclasses.replace(host, name=name) if is_local else host
        for host, is_local in zip(hosts, are_local, strict=True)
    ]
    return _merged(renamed)


def host_list(hosts: Sequence[Host]) -> str:
    """Formats the hosts for mpirun and horovodrun: a:4,b:4."""
    return ",".join(f"{host.name}:{host.slots}" for host in hosts)


def _host_of_line(content: str, origin: str) -> Host:
    first, *rest = _LINE_SPACE.sub("=", content).split()
    name, slots = _name_and_slots(first)
    if len(rest) > 1 and rest[0].isdecimal() and "=" not in "".join(rest):  # Grid Engine
        return _host(name, rest[0], origin)
    values = dict(word.split("=", 1) for word in rest if word.count("=") == 1)
    if len(values) != len(rest) or not set(values) <= {*_SLOTS, *_MAXIMUM} or len(set(values) & set(_SLOTS)) > 1:
        raise UserError(f"{origin}, is not a host: write 'NAME slots=4', for example.")
    for word in _MAXIMUM:
        _host(name, values.get(word, "1"), origin)
    return _host(name, next((values[word] for word in _SLOTS if word in values), slots), origin)


def _name_and_slots(item: str) -> tuple[str, str]:
    """Splits `a`, `a:4`, an IPv6 address, or one in brackets, `[fe80::1]:4`; one slot if none are given."""
    bracketed = _BRACKETED.fullmatch(item)
    if bracketed:
        return bracketed[1], "1" if bracketed[2] is None else bracketed[2]
    if item.count(":") > 1:
        return item, "1"
    name, colon, slots = item.partition(":")
    return name, slots if colon else "1"


def _host(name: str, slots: str, origin: str) -> Host:
    plain = _plain_name(name, origin)
    if not (re.fullmatch("[0-9]{1,9}", slots) and 1 <= int(slots) <= _MAX_SLOTS):
        raise UserError(f"'{slots}' in {origin} is not a number of ranks from 1 to {_MAX_SLOTS}, as in {name}:4.")
    return Host(name=plain, slots=int(slots))


def _plain_name(name: str, origin: str) -> str:
    """The name without a trailing dot; `localhost` for an IPv6 address of this machine, which no launcher accepts."""
    plain = name.removesuffix(".")
    if _NAME.fullmatch(plain):
        return plain
    if not _is_ipv6(plain):
        raise UserError(f"'{name}' in {origin} is not a host name: use only letters, digits, dots and hyphens.")
    if not is_this_machine(plain):
        raise UserError(
            f"'{name}' in {origin} is an IPv6 address, which mpirun and horovodrun do not accept: name the host."
        )
    return LOCALHOST


def _is_ipv6(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).version == 6
    except ValueError:
        return False


def _merged(hosts: Sequence[Host]) -> list[Host]:
    """Merges entries of the same host: the first name, and the sum of the slots."""
    slots: Counter[str] = Counter()
    names: dict[str, str] = {}
    for host in hosts:
        key = comparable(host.name)
        slots[key] += host.slots
        names.setdefault(key, host.name)
    return [Host(name=name, slots=slots[key]) for key, name in names.items()]
