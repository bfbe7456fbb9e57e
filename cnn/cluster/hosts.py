"""The hosts of a job: from `-H a:4,b:4`, from a hostfile, or from what a scheduler says."""

import dataclasses
import ipaddress
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cnn.cluster.this_machine import LOCALHOST, comparable, is_this_machine, name_for_launchers
from cnn.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_MAX_SLOTS = 1024
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::(.*))?")
_LINE_SPACE = re.compile(r"\s*=\s*")
_SLOTS, _MOST = ("slots", "cpu", "count"), ("max_slots", "max-slots")
"""Open MPI's words in a hostfile: for the number of ranks, and for that beyond which no oversubscription goes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Host:
    """A machine, and how many ranks it takes."""

    name: str
    slots: int


def parse_hosts(text: str, origin: str) -> list[Host]:
    """Reads `a:4,b:4`; a host without a number takes one rank, and one that is named twice the sum.

    Args:
        text: the list.
        origin: where it is from, for messages.

    Raises:
        UserError: a name or a number is none.
    """
    items = [item.strip() for item in text.strip().removesuffix(",").split(",")]
    return _added_up([_host(*_name_and_slots(item), f"{origin} '{text}'") for item in items])


def read_hostfile(path: Path) -> list[Host]:
    """Reads a hostfile as schedulers and users write it, a host in each line; what follows # is a comment.

    `a slots=4 max_slots=8` is Open MPI's, `a:4` that of other MPIs, `a` once for each rank that of PBS, LSF and
    `srun hostname`, `a 4 queue@a UNDEFINED` Grid Engine's.

    Raises:
        UserError: the file cannot be read, is empty, or a line is none of these, which is named.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UserError(f"the hostfile {path} cannot be read ({reason}): name one with a host in each line.") from error
    hosts = []
    for number, line in enumerate(lines, start=1):
        content = line.partition("#")[0].strip()
        if content:
            hosts.append(_host_of_line(content, f"line {number} of the hostfile {path}, '{content}'"))
    if not hosts:
        raise UserError(f"the hostfile {path} names no host: write one in each line, for example 'NAME slots=4'.")
    return _added_up(hosts)


def find_hosts(given: str | None, hostfile: str | None, environ: Mapping[str, str]) -> list[Host] | None:
    """The hosts that were given, else those of the environment; None where there is but this machine.

    The environment's are CNN_HOSTS, CNN_HOSTFILE, and OMPI_MCA_orte_default_hostfile, which Kubernetes's MPI operator
    sets.
    """
    hosts = _named_hosts(given, hostfile, environ)
    return None if hosts is None else with_this_machine_once(hosts)


def _named_hosts(given: str | None, hostfile: str | None, environ: Mapping[str, str]) -> list[Host] | None:
    if given is not None and hostfile is not None:
        raise UserError(f"-H {given} and --hostfile {hostfile} were both given: leave one out.")
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


def with_this_machine_once(hosts: Sequence[Host]) -> list[Host]:
    """The hosts, with this machine among them at most once, whichever of its names and addresses are given.

    It keeps the first name, unless horovodrun would take that for another machine's.
    """
    with ThreadPoolExecutor(min(64, len(hosts))) as pool:
        here = list(pool.map(is_this_machine, [host.name for host in hosts]))
    own = [name_for_launchers(host.name) for host, is_here in zip(hosts, here, strict=True) if is_here]
    return _added_up(
        [dataclasses.replace(host, name=own[0]) if is_here else host for host, is_here in zip(hosts, here, strict=True)]
    )


def host_list(hosts: Sequence[Host]) -> str:
    """As mpirun and horovodrun take it: a:4,b:4."""
    return ",".join(f"{host.name}:{host.slots}" for host in hosts)


def _host_of_line(content: str, origin: str) -> Host:
    first, *rest = _LINE_SPACE.sub("=", content).split()
    name, slots = _name_and_slots(first)
    if len(rest) > 1 and rest[0].isdecimal() and "=" not in "".join(rest):  # Grid Engine's
        return _host(name, rest[0], origin)
    values = dict(word.split("=", 1) for word in rest if word.count("=") == 1)
    if len(values) != len(rest) or not set(values) <= {*_SLOTS, *_MOST} or len(set(values) & set(_SLOTS)) > 1:
        raise UserError(f"{origin}, is not a host: write it as 'NAME slots=4', for example.")
    for word in _MOST:
        _host(name, values.get(word, "1"), origin)
    return _host(name, next((values[word] for word in _SLOTS if word in values), slots), origin)


def _name_and_slots(item: str) -> tuple[str, str]:
    """Of `a`, `a:4`, an IPv6 address, or one in brackets: `[fe80::1]:4`."""
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
    """The name without the point that may end it; for an IPv6 address of this machine, which no launcher takes, its
    name."""
    plain = name.removesuffix(".")
    if _NAME.fullmatch(plain):
        return plain
    if not _is_ipv6(plain):
        raise UserError(
            f"'{name}' in {origin} is not the name of a host: it has letters, digits, points and hyphens only."
        )
    if not is_this_machine(plain):
        raise UserError(
            f"'{name}' in {origin} is an IPv6 address, which mpirun and horovodrun do not take: name the host."
        )
    return LOCALHOST


def _is_ipv6(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).version == 6
    except ValueError:
        return False


def _added_up(hosts: Sequence[Host]) -> list[Host]:
    """Each host once, by the name that it is given first, with the ranks of all."""
    slots: Counter[str] = Counter()
    names: dict[str, str] = {}
    for host in hosts:
        key = comparable(host.name)
        slots[key] += host.slots
        names.setdefault(key, host.name)
    return [Host(name=name, slots=slots[key]) for key, name in names.items()]
