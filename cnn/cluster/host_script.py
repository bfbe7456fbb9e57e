"""The program that names the hosts of an elastic job. It is run as it is, by no shell: any path will do."""

import subprocess
from pathlib import Path

from cnn.cluster.hosts import Host, parse_hosts
from cnn.errors import UserError

_SECONDS_TO_ANSWER = 30
"""How long it may take."""


def ask(script: Path, slots: int = 1) -> list[Host]:
    """The hosts that the script names now; UserError when it cannot be run, or names something else.

    Args:
        script: the program.
        slots: how many ranks a host takes of which it does not say so.
    """
    try:
        done = subprocess.run(
            [script.absolute()], capture_output=True, text=True, check=True, timeout=_SECONDS_TO_ANSWER
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise UserError(f"{script} does not tell the hosts ({reason}): name a program that prints them.") from error
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    named = ",".join(line if ":" in line else f"{line}:{slots}" for line in lines)
    return parse_hosts(named, str(script)) if lines else []


class HostScript:
    """In place of Horovod's HostDiscoveryScript, which hands the path to a shell."""

    def __init__(self, script: str, slots: int | None) -> None:
        self._script, self._slots = Path(script), slots or 1

    def find_available_hosts_and_slots(self) -> dict[str, int]:
        """How many ranks each host takes now."""
        return {host.name: host.slots for host in ask(self._script, self._slots)}
