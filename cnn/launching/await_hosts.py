"""Waits for hosts that are still starting, for example pods: first for their names, then for ssh."""

import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from cnn.cluster.hosts.this_machine import addresses_of, is_this_machine
from cnn.errors import RunError

_CONNECT_TIMEOUT_SECONDS = 10
_TIMEOUT_SECONDS = 20
_POLL_SECONDS = 2.0

_MAX_REFUSED_SECONDS = 20
"""How long a host may refuse the key or present a wrong one, as a pod of another job may still have the name."""

_REFUSALS = ("Permission denied", "Host key verification failed", "Too many authentication failures")


def await_hosts(names: Sequence[str], seconds: float) -> None:
    """Waits until every host but this machine is reachable by ssh, and every name is known.

    Args:
        names: the hosts' names for ssh.
        seconds: the maximum time to wait.

    Raises:
        RunError: a host is not reachable in time, or refuses the key for longer than it takes to replace a pod; names
            the host and the reason.
    """
    begin = time.monotonic()
    waiting, reported = list(names), -1
    while waiting:
        with ThreadPoolExecutor(min(64, len(waiting))) as pool:
            faults = {name: fault for name, fault in zip(waiting, pool.map(_fault, waiting), strict=True) if fault}
        waited = time.monotonic() - begin
        for name, fault in faults.items():
            refused = any(refusal in fault for refusal in _REFUSALS)
            if waited >= (min(seconds, _MAX_REFUSED_SECONDS) if refused else seconds):
                raise RunError(_sentence(name, fault, len(faults), waited))
        if len(names) - len(faults) != reported:
            reported = len(names) - len(faults)
            print(f"{reported} of {len(names)} hosts are reachable", flush=True)
        waiting = list(faults)
        if waiting:
            time.sleep(_POLL_SECONDS)


def _sentence(name: str, fault: str, missing: int, waited: float) -> str:
    others = f", as are {missing - 1} more" if missing > 1 else ""
    return f"the host {name} is unreachable after {waited:.0f} s ({fault}){others}: check that host's log."


def _fault(name: str) -> str | None:
    """The reason why a host is not reachable; None if it is, or is this machine, which need not serve ssh."""
    if is_this_machine(name):
        return None
    if not addresses_of(name):
        return "its name is unknown"
    command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_TIMEOUT_SECONDS}", name, "true"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "it does not answer"
    except OSError as error:
        return f"ssh cannot be started: {error.strerror}"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines() or [f"ssh ended with exit code {done.returncode}"]
    return " ".join(lines[-1].split()).rstrip(".")
