"""The way in which Open MPI adds up long messages, where its own choice is slow."""

import contextlib
import os
from collections.abc import Iterator, MutableMapping

_PREFIX = "OMPI_MCA_coll"
_USE_RULES, _FILE = f"{_PREFIX}_tuned_use_dynamic_rules", f"{_PREFIX}_tuned_dynamic_rules_filename"

_BYTES_PER_RANK = 16 << 10
"""A ring has a latency for each rank, so the more ranks there are, the longer a message must be."""

_ALLREDUCE, _OWN_CHOICE, _RING = 2, 0, 4
"""Open MPI's numbers of the operation and of two of its algorithms."""


def in_ring(world_size: int) -> bool:
    """Whether long messages are added up in a ring instead of between pairs of ranks, as Open MPI would."""
    return world_size & (world_size - 1) != 0


def rules(world_size: int) -> str:
    """A file of rules for Open MPI's component `tuned`: long messages are added up in a ring.

    For these Open MPI 4.1 chooses the algorithm of Rabenseifner ("Optimization of Collective Reduction Operations",
    ICCS 2004). Unless the number of ranks is a power of two, this begins and ends with whole vectors sent between
    pairs: three ranks send 9/8 of a ring's bytes, and take more than twice its time if the link is the limit.
    """
    long = f"{_BYTES_PER_RANK * world_size} {_RING} 0 0"
    # For this operation, from this number of ranks on, from this number of bytes on: algorithm, fan-out, segment.
    return f"1\n{_ALLREDUCE}\n1\n{world_size}\n2\n0 {_OWN_CHOICE} 0 0\n{long}\n"


@contextlib.contextmanager
def allreduce_rules(world_size: int, environ: MutableMapping[str, str]) -> Iterator[None]:
    """Meanwhile MPI, when initialised, finds the rules, unless the user has set such variables or they are not needed.

    Every rank gets the same: ranks with different algorithms would wait for each other forever. So the file is in this
    process's memory, for which there is always room.
    """
    if not in_ring(world_size) or any(name.startswith(f"{_PREFIX}_") or name == _PREFIX for name in environ):
        yield
        return
    with os.fdopen(os.memfd_create("allreduce_rules"), "w") as file:
        file.write(rules(world_size))
        file.flush()
        environ[_USE_RULES], environ[_FILE] = "1", f"/proc/self/fd/{file.fileno()}"
        try:
            yield
        finally:
            del environ[_USE_RULES], environ[_FILE]
