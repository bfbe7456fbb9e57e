"""What a launcher has left in the environment: of a job that is over, or of the one around this process."""

import contextlib
import re
import socket
from collections.abc import Iterator, Mapping, MutableMapping

from cnn.cluster.other_launchers import refuse_other_launchers
from cnn.cluster.process import ALONE, Launch, launch_from_environment
from cnn.errors import UserError

_SECONDS_TO_ANSWER = 10.0

_OF_RANKS = re.compile(
    r"OMPI_(COMM_WORLD|FILE_LOCATION|FIRST_RANKS|APP_CTX|NUM_APP|UNIVERSE|COMMAND|ARGV)|PMIX_|OPAL_PREFIX"
    r"|OMPI_MCA_(ess|pmix|initial_wdir|mpi_oversubscribe|shmem_RUNTIME)"
    r"|OMPI_MCA_orte_(app_num|bound_at|ess|hnp_uri|jobfam|launch|local_daemon|num_nodes|precondition|top_session)"
    r"|HOROVOD_(RANK|SIZE|LOCAL_|CROSS_|GLOO_RENDEZVOUS|GLOO_IFACE|HOSTNAME|CONTROLLER|CPU_OPERATIONS|ELASTIC)"
)
"""The variables by which mpirun and horovodrun tell ranks their places: to a launcher they would be somebody else's."""

_RANK = {
    "OMPI": "OMPI_COMM_WORLD_RANK",
    "PMIX": "OMPI_COMM_WORLD_RANK",
    "OPAL": "OMPI_COMM_WORLD_RANK",
    "HOROVOD": "HOROVOD_RANK",
}
"""What is there where a launcher has set the variables that begin like this, and not the user."""

_DECIDED = ("HOROVOD_CONTROLLER", "HOROVOD_CPU_OPERATIONS")
"""What connects the ranks. The launcher decides it: Horovod crashes where they say otherwise."""


def still_running(launch: Launch, environ: Mapping[str, str]) -> Launch:
    """The launch, or a lone process where it had but one and is over.

    Raises:
        UserError: nothing is left of the launcher that the environment is of, so that Horovod would wait in vain.
    """
    if launch.controller == "none" or any(map(_answers, _servers(launch, environ))):
        return launch
    if launch.controller == "mpi" and launch.world_size == 1:
        return ALONE
    name, variable = (
        ("mpirun", "OMPI_COMM_WORLD_SIZE") if launch.controller == "mpi" else ("horovodrun", "HOROVOD_SIZE")
    )
    raise UserError(
        f"{variable}={launch.world_size} is left over from a {name} that has ended or is not to be reached: start the "
        f"job with {name} of .venv/bin or launch/{name}.sh, or this process from a new shell."
    )


def contradiction(controller: str, environ: Mapping[str, str]) -> UserError | None:
    """What is wrong with a wish for another way to connect the ranks than the launcher's; None where there is none."""
    for name in _DECIDED:
        wanted = environ.get(name, "").strip().lower()
        if controller != "none" and wanted not in ("", controller):
            return UserError(
                f"{name} is {environ[name]}, but the launcher connects these ranks by {controller}: leave it out, or "
                "start them with launch/mpirun.sh for mpi, launch/horovodrun.sh for gloo."
            )
    return None


def settle(controller: str, environ: MutableMapping[str, str]) -> None:
    """Has Horovod connect the ranks as the launcher does."""
    environ.update(dict.fromkeys(_DECIDED, controller))


def start_anew(environ: MutableMapping[str, str], controller: str, *, typed: bool) -> None:
    """Makes the environment that of a launcher: takes out what tells a rank its place.

    Args:
        environ: the environment.
        controller: by what the launcher will connect its ranks, mpi or gloo.
        typed: whether somebody started this at a terminal, and so once, whatever the shell was started by.

    Raises:
        UserError: this process is one of several, which would each start a job; or something asks for another
            controller.
    """
    ranks = 1
    with contextlib.suppress(UserError):  # of what is incomplete or over nothing is left
        ranks = still_running(launch_from_environment(environ), environ).world_size
    if ranks > 1:
        raise UserError(
            f"each of {ranks} ranks would start a job of its own: call the launcher once, and no mpirun for it."
        )
    _forget_ranks(environ)
    if not typed:
        refuse_other_launchers(environ)
    if contradicting := contradiction(controller, environ):
        raise contradicting


def _forget_ranks(environ: MutableMapping[str, str]) -> None:
    of_ranks = [name for name in environ if _OF_RANKS.match(name) and _RANK[name.partition("_")[0]] in environ]
    for name in of_ranks:
        del environ[name]


def _servers(launch: Launch, environ: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Where the launcher, or its part on this host, listens."""
    if launch.controller == "gloo":
        port = environ.get("HOROVOD_GLOO_RENDEZVOUS_PORT", "")
        if port.isdecimal():
            yield re.split("[:/]", environ.get("HOROVOD_GLOO_RENDEZVOUS_ADDR", ""))[0], int(port)
        return
    for name, value in environ.items():
        found = re.search(r"tcp4://([0-9.]+):([0-9]+)", value) if name.startswith("PMIX_SERVER_URI") else None
        if found:
            yield found[1], int(found[2])


def _answers(server: tuple[str, int]) -> bool:
    """Whether somebody listens there; one who is too busy does."""
    try:
        with socket.create_connection(server, _SECONDS_TO_ANSWER):
            return True
    except TimeoutError:
        return True
    except (OSError, OverflowError, UnicodeError):
        return False
