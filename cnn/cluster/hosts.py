"""The hosts of a job: from `-H a:4,b:4`, from a hostfile, or from what a scheduler says."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnn.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_MOST_SLOTS = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Host:
    """A machine, and how many ranks it takes."""

    name: str
    slots: int


def parse_hosts(text: str, origin: str) -> list[Host]:
    """Reads `a:4,b:4`; a host without a number takes one rank.

    Args:
        text: the list.
        origin: where it is from, for messages.

    Raises:
        UserError: a name or a number is none, or a host is named twice.
    """
    hosts = []
    for item in text.split(","):
        name, colon, slots = item.strip().partition(":")
        hosts.append(_host(name, slots if colon else "1", f"{origin} '{text}'"))
    return _distinct(hosts, f"{origin} '{text}'")


def read_hostfile(path: Path) -> list[Host]:
    """Reads a hostfile, a host in each line: `a slots=4`, or `a:4`. What follows # is a comment.

    Raises:
        UserError: the file cannot be read, is empty, or a line is none of these, which is named.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UserError(f"the hostfile {path} cannot be read ({reason}): name one with a host in each line.") from error
    hosts = []
    for number, line in enumerate(lines, start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        match = re.fullmatch(r"([^\s:]+)(?:\s+slots\s*=\s*(\S+)|:(\S+))?", content)
        origin = f"line {number} of the hostfile {path}, '{content}'"
        if not match:
            raise UserError(f"{origin}, is not a host: write 'NAME slots=4', say.")
        hosts.append(_host(match[1], match[2] or match[3] or "1", origin))
    if not hosts:
        raise UserError(f"the hostfile {path} names no host: write one in each line, 'NAME slots=4' say.")
    return _distinct(hosts, f"the hostfile {path}")


def find_hosts(given: str | None, hostfile: str | None, environ: Mapping[str, str]) -> list[Host] | None:
    """The hosts that were given, else those of the environment; None where there is but this machine.

    The environment's are CNN_HOSTS, CNN_HOSTFILE, and OMPI_MCA_orte_default_hostfile, which Kubernetes's MPI operator
    sets.
    """
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


def host_list(hosts: Sequence[Host]) -> str:
    """As mpirun and horovodrun take it: a:4,b:4."""
    return ",".join(f"{host.name}:{host.slots}" for host in hosts)


def _host(name: str, slots: str, origin: str) -> Host:
    if not _NAME.fullmatch(name):
        raise UserError(
            f"'{name}' in {origin} is not the name of a host: it has letters, digits, points and hyphens only."
        )
    if not (re.fullmatch("[0-9]{1,9}", slots) and 1 <= int(slots) <= _MOST_SLOTS):
        raise UserError(f"'{slots}' in {origin} is not a number of ranks from 1 to {_MOST_SLOTS}, as in {name}:4.")
    return Host(name=name, slots=int(slots))


def _distinct(hosts: list[Host], origin: str) -> list[Host]:
    names = [host.name for host in hosts]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{origin} names {name} twice: name it once, with the sum of its ranks.")
    return hosts
