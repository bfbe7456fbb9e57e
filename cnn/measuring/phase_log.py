"""A log of what a rank's time and messages go into, phase by phase, and of the files that it opens."""

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import tensorflow as tf

from cnn.tensor import Tensor


@dataclasses.dataclass(kw_only=True)
class Phase:
    """What a rank did in one phase."""

    seconds: float = 0.0
    processor_seconds: float = 0.0
    """Of the thread that runs the program."""

    all_processor_seconds: float = 0.0
    """Of all threads of the process, those of Horovod and TensorFlow included."""

    collectives: int = 0
    """Calls of Horovod's operations outside compiled functions."""

    received_bytes: int = 0
    """Bytes of the results of these collectives."""

    compiled_collectives: int = 0
    """Horovod's operations in functions that were compiled in this phase."""


class PhaseLog:
    """Attributes each moment, and each collective, to a phase.

    A collective belongs to the phase of the innermost function on the stack that has one, together with the time since
    the previous collective or mark: the work that led to it, and the waiting in it.

    Args:
        phases: for functions of the program, the names of their phases. Functions that are called by one of them, and
            are not in the table themselves, belong to the same phase.
    """

    def __init__(self, phases: Mapping[Callable[..., Any], str]) -> None:
        self._phases: dict[CodeType, str] = {function.__code__: name for function, name in phases.items()}
        self.phases: dict[str, Phase] = {}
        self.part = ""
        """Put before the names of phases, to tell those of several runs apart."""

        self._since = _clocks()

    def phase(self, name: str) -> Phase:
        """The phase of this name, part included; an empty one if there was none."""
        return self.phases.setdefault(name, Phase())

    def mark(self, name: str) -> Phase:
        """Attributes the time since the previous mark to a phase, and returns it."""
        phase, now = self.phase(self.part + name), _clocks()
        seconds, processor_seconds, all_processor_seconds = (
            end - begin for begin, end in zip(self._since, now, strict=True)
        )
        phase.seconds += seconds
        phase.processor_seconds += processor_seconds
        phase.all_processor_seconds += all_processor_seconds
        self._since = now
        return phase

    def collective(self, result: Tensor) -> None:
        """Records a collective with this result, which has just ended or, in a compiled function, been traced."""
        name = self._current_phase()
        if not tf.executing_eagerly():
            self.phase(self.part + name).compiled_collectives += 1
            return
        phase = self.mark(name)
        phase.collectives += 1
        phase.received_bytes += result.shape.num_elements() * result.dtype.size

    def _current_phase(self) -> str:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code in self._phases:
                return self._phases[frame.f_code]
            frame = frame.f_back
        return "other"


class LoggedHorovod:
    """Horovod's module, whose collectives are recorded.

    Args:
        horovod: the module.
        log: where they are recorded.
    """

    def __init__(self, horovod: Any, log: PhaseLog) -> None:
        self.unlogged, self._log = horovod, log

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.unlogged, name)
        return self._logged(found) if name in ("allgather", "allreduce", "alltoall", "broadcast") else found

    def _logged(self, collective: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = collective(*arguments, **options)
            self._log.collective(result)
            return result

        return call


def count_opened_files(folders: Mapping[str, Path]) -> dict[str, int]:
    """Counts, from now on until the process ends, the files that Python opens in each of some folders.

    Args:
        folders: the folders by name; a file belongs to the first that contains it.

    Returns:
        The counts by name, which grow.
    """
    counts = dict.fromkeys(folders, 0)
    prefixes = {name: f"{os.path.realpath(folder)}/" for name, folder in folders.items()}

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], str):
            return
        for name, prefix in prefixes.items():
            if arguments[0].startswith(prefix):
                counts[name] += 1
                break

    sys.addaudithook(look)
    return counts


def own_memory() -> tuple[int, int]:
    """This process's memory in bytes: what it has to itself, and what it shares with other processes."""
    kilobytes = {"Private": 0, "Shared": 0}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        kind, _, rest = line.partition("_")
        if kind in kilobytes:
            kilobytes[kind] += int(rest.split()[1])
    return 1024 * kilobytes["Private"], 1024 * kilobytes["Shared"]


def _clocks() -> tuple[float, float, float]:
    return time.perf_counter(), time.thread_time(), time.process_time()
