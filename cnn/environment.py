"""The environment variables that this project and Horovod read, and what each may hold."""

import dataclasses
import re
from collections.abc import MutableMapping

STALL_SECONDS = "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"


@dataclasses.dataclass(frozen=True)
class _Kind:
    """What a variable may hold."""

    words: str
    pattern: str
    low: float = 0
    high: float = 2**31 - 1

    def holds(self, value: str) -> bool:
        """Whether a value is of this kind; numbers in it are to be in range."""
        if not re.fullmatch(self.pattern, value, re.ASCII):
            return False
        return all(self.low <= float(number) <= self.high for number in re.findall(_DECIMAL, value))


def _choice(*values: str, any_case: bool = False) -> _Kind:
    return _Kind(f"one of {', '.join(values)}", f"{'(?i)' * any_case}{'|'.join(values)}")


_DECIMAL = r"\d+(?:\.\d*)?|\.\d+"
_YES_OR_NO = _choice("0", "1")
_COUNT = _Kind("a whole number from 0 on", r"\d+")
_POSITIVE = _Kind("a whole number from 1 on", r"\d+", low=1)
_NUMBERS = _Kind("whole numbers with commas between them", r"\d+( *, *\d+)*")
_GPU = r"-?\d+|(GPU|MIG)-[\w/-]+"

_KINDS = {
    "CNN_DEVICE": _choice("gpu", "cpu"),
    "CNN_PROGRESS": _choice("bar", "lines"),
    "CUDA_VISIBLE_DEVICES": _Kind(
        "numbers of GPUs, or their names (GPU-..., MIG-...), with commas between them",
        rf"NoDevFiles|({_GPU})( *, *({_GPU}))*,?",
        high=float("inf"),
    ),
    "OMP_NUM_THREADS": dataclasses.replace(_NUMBERS, low=1),
    "TF_CPP_MIN_LOG_LEVEL": _choice("0", "1", "2", "3"),
    "HOROVOD_CONTROLLER": _choice("mpi", "gloo"),
    "HOROVOD_CPU_OPERATIONS": _choice("mpi", "gloo"),
    "HOROVOD_LOG_LEVEL": _choice("trace", "debug", "info", "warning", "error", "fatal", any_case=True),
    "HOROVOD_CYCLE_TIME": _Kind("a number of milliseconds, 0.5 for example, and nothing else", _DECIMAL, high=60_000),
    "HOROVOD_THREAD_AFFINITY": _NUMBERS,
    **dict.fromkeys(
        (STALL_SECONDS, "HOROVOD_STALL_CHECK_TIME_SECONDS"),
        _Kind("a whole number of seconds, 600 for example, or 0 for never, and nothing else", r"\d+"),
    ),
    **dict.fromkeys(
        ("HOROVOD_GLOO_TIMEOUT_SECONDS", "HOROVOD_ELASTIC_TIMEOUT", "HOROVOD_START_TIMEOUT"),
        _Kind("a whole number of seconds, 30 for example, and nothing else", r"\d+", low=1),
    ),
    **dict.fromkeys(("HOROVOD_CACHE_CAPACITY", "HOROVOD_FUSION_THRESHOLD", "HOROVOD_ADASUM_MPI_CHUNK_SIZE"), _COUNT),
    "HOROVOD_NUM_NCCL_STREAMS": _POSITIVE,
    **dict.fromkeys(
        (
            "HOROVOD_AUTOTUNE",
            "HOROVOD_DISABLE_GROUP_FUSION",
            "HOROVOD_DYNAMIC_PROCESS_SETS",
            "HOROVOD_ELASTIC",
            "HOROVOD_ENABLE_ASYNC_COMPLETION",
            "HOROVOD_HIERARCHICAL_ALLGATHER",
            "HOROVOD_HIERARCHICAL_ALLREDUCE",
            "HOROVOD_LOG_HIDE_TIME",
            "HOROVOD_MPI_THREADS_DISABLE",
            "HOROVOD_STALL_CHECK_DISABLE",
            "HOROVOD_TIMELINE_MARK_CYCLES",
            "HOROVOD_TORUS_ALLREDUCE",
        ),
        _YES_OR_NO,
    ),
}
"""Horovod takes the number that a value begins with, and 0 where it begins with none: 5ms is 5, true is 0."""

_MEANINGFUL_WHEN_EMPTY = ("CUDA_VISIBLE_DEVICES",)


def take_out_mistakes(environ: MutableMapping[str, str], *, horovod: bool) -> str:
    """Takes variables that do not hold what they may out of the environment, so that nobody believes them by halves.

    Args:
        environ: the environment. An empty variable in it is as one that is not set.
        horovod: whether Horovod is used, so that its variables matter.

    Returns:
        A sentence about the first of them; empty where there is none.
    """
    mistakes = []
    for name, kind in _KINDS.items():
        value = environ.get(name)
        if value is None or kind.holds(value.strip()) or (not value and name in _MEANINGFUL_WHEN_EMPTY):
            continue
        del environ[name]
        if value and (horovod or not name.startswith("HOROVOD_")):
            mistakes.append(f"the environment variable {name} is '{value}': set it to {kind.words}, or leave it out.")
    return mistakes[0] if mistakes else ""
