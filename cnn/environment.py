"""The environment variables that this project and Horovod read, and the allowed values of each."""

import dataclasses
import re
from collections.abc import MutableMapping

STALL_SECONDS = "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"


@dataclasses.dataclass(frozen=True)
class _Format:
    """The allowed values of a variable."""

    description: str
    pattern: str
    low: float = 0
    high: float = 2**31 - 1

    def matches(self, value: str) -> bool:
        """Whether a value has this format, with all its numbers in range."""
        if not re.fullmatch(self.pattern, value, re.ASCII):
            return False
        return all(self.low <= float(number) <= self.high for number in re.findall(_DECIMAL, value))


def _choice(*values: str, any_case: bool = False) -> _Format:
    return _Format(f"one of {', '.join(values)}", f"{'(?i)' * any_case}{'|'.join(values)}")


_DECIMAL = r"\d+(?:\.\d*)?|\.\d+"
_YES_OR_NO = _choice("0", "1")
_COUNT = _Format("a whole number of at least 0", r"\d+")
_POSITIVE = _Format("a whole number of at least 1", r"\d+", low=1)
_NUMBERS = _Format("whole numbers separated by commas", r"\d+( *, *\d+)*")
_GPU_NAME = r"-?\d+|(GPU|MIG)-[\w/-]+"

_FORMATS = {
    "CNN_DEVICE": _choice("gpu", "cpu"),
    "CNN_LOG_FORMAT": _choice("text", "json"),
    "CNN_PROGRESS": _choice("bar", "lines"),
    "CNN_EXPECTED_HOSTS": _Format("a number of hosts of at least 1, or a range, for example 1-3", r"\d+(-\d+)?", low=1),
    "CNN_EXPECTED_WORKERS_PER_HOST": _POSITIVE,
    "CUDA_VISIBLE_DEVICES": _Format(
        "numbers of GPUs, or their names (GPU-..., MIG-...), separated by commas",
        rf"NoDevFiles|({_GPU_NAME})( *, *({_GPU_NAME}))*,?",
        high=float("inf"),
    ),
    "OMP_NUM_THREADS": dataclasses.replace(_NUMBERS, low=1),
    "TF_CPP_MIN_LOG_LEVEL": _choice("0", "1", "2", "3"),
    "HOROVOD_CONTROLLER": _choice("mpi", "gloo"),
    "HOROVOD_CPU_OPERATIONS": _choice("mpi", "gloo"),
    "HOROVOD_LOG_LEVEL": _choice("trace", "debug", "info", "warning", "error", "fatal", any_case=True),
    "HOROVOD_CYCLE_TIME": _Format("a number of milliseconds without a unit, for example 0.5", _DECIMAL, high=60_000),
    "HOROVOD_THREAD_AFFINITY": _NUMBERS,
    **dict.fromkeys(
        (STALL_SECONDS, "HOROVOD_STALL_CHECK_TIME_SECONDS"),
        _Format("a whole number of seconds without a unit, for example 600, or 0 for never", r"\d+"),
    ),
    **dict.fromkeys(
        ("HOROVOD_GLOO_TIMEOUT_SECONDS", "HOROVOD_ELASTIC_TIMEOUT", "HOROVOD_START_TIMEOUT"),
        _Format("a whole number of seconds without a unit, for example 30", r"\d+", low=1),
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
"""Checked because Horovod parses only the leading number of a value (5ms is 5), and without one 0 (true is 0)."""

_MEANINGFUL_WHEN_EMPTY = ("CUDA_VISIBLE_DEVICES",)


def remove_invalid_variables(environ: MutableMapping[str, str], *, horovod: bool) -> str:
    """Removes invalid variables from the environment, so that no library parses them in part.

    Args:
        environ: the environment; an empty variable counts as unset.
        horovod: whether Horovod is used, so that errors in its variables are reported.

    Returns:
        An error message about the first invalid variable; empty if there is none.
    """
    errors = []
    for name, value_format in _FORMATS.items():
        value = environ.get(name)
        if value is None or value_format.matches(value.strip()) or (not value and name in _MEANINGFUL_WHEN_EMPTY):
            continue
        del environ[name]
        if value and (horovod or not name.startswith("HOROVOD_")):
            errors.append(
                f"the environment variable {name} is '{value}': set it to {value_format.description}, or unset it."
            )
    return errors[0] if errors else ""
