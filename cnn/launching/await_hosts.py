"""Waits for hosts that are still coming up, as pods do: first for their names, then for ssh."""

import socket
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from cnn.errors import RunError

_SECONDS_TO_CONNECT = 10
_SECONDS_TO_ANSWER = 20
_SECONDS_BETWEEN = 2.0

_SECONDS_REFUSED = 20
"""How long a host may refuse the key, or show one that is not the job's: another job's pod may still have the name."""

_REFUSALS = ("Permission denied", "Host key verification failed", "Too many authentication failures")


def await_hosts(names: Sequence[str], seconds: float) -> None:
    """Returns when every host can be entered.

    Args:
        names: as ssh takes them.
        seconds: to wait at most.

    Raises:
        RunError: a host cannot be entered in time, or refuses the key for longer than it takes to replace a pod; names
            the host and the reason.
    """
    begin = time.monotonic()
    waiting, said = list(names), -1
    while waiting:
        with ThreadPoolExecutor(min(64, len(waiting))) as pool:
            faults = {name: fault for name, fault in zip(waiting, pool.map(_fault, waiting), strict=True) if fault}
        waited = time.monotonic() - begin
        for name, fault in faults.items():
            refused = any(refusal in fault for refusal in _REFUSALS)
            if waited >= (min(seconds, _SECONDS_REFUSED) if refused else seconds):
                raise RunError(_sentence(name, fault, len(faults), waited))
        if len(names) - len(faults) != said:
            said = len(names) - len(faults)
            print(f"{said} of {len(names)} hosts are there", flush=True)
        waiting = list(faults)
        if waiting:
            time.sleep(_SECONDS_BETWEEN)


def _sentence(name: str, fault: str, missing: int, waited: float) -> str:
    others = f", nor {missing - 1} more" if missing > 1 else ""
    return f"the host {name} cannot be entered after {waited:.0f} s ({fault}){others}: look at what that host says."


def _fault(name: str) -> str | None:
    """Why a host cannot be entered now."""
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError):
        return "its name is not known"
    command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_SECONDS_TO_CONNECT}", name, "true"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS_TO_ANSWER,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "it does not answer"
    except OSError as error:
        return f"ssh cannot be started, {error.strerror}"
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines() or [f"ssh ended with {done.returncode}"]
    return " ".join(said[-1].split()).rstrip(".")
