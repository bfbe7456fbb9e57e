"""The program that prints the hosts of an elastic job. It is run without a shell, so that any path works."""

import subprocess
from pathlib import Path

from cnn.cluster.hosts.hosts import Host, parse_hosts
from cnn.errors import UserError

_TIMEOUT_SECONDS = 30


def run_host_script(script: Path, slots: int = 1) -> list[Host]:
    """Runs the script, and returns the hosts it prints; UserError if it fails or prints anything else.

    Args:
        script: the program.
        slots: ranks on a host that is printed without a number.
    """
    try:
        done = subprocess.run([script.absolute()], capture_output=True, text=True, check=True, timeout=_TIMEOUT_SECONDS)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise UserError(f"{script} cannot list the hosts ({reason}): name a program that prints them.") from error
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    named = ",".join(line if ":" in line else f"{line}:{slots}" for line in lines)
    return parse_hosts(named, str(script)) if lines else []


class HostScript:
    """Replaces Horovod's HostDiscoveryScript, which passes the path to a shell."""

    def __init__(self, script: str, slots: int | None) -> None:
        self._script, self._slots = Path(script), slots or 1

    def find_available_hosts_and_slots(self) -> dict[str, int]:
        """Returns the current number of ranks of each host."""
        return {host.name: host.slots for host in run_host_script(self._script, self._slots)}
