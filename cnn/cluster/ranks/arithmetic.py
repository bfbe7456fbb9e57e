"""The facts about a rank that decide the last bits of its results: TensorFlow chooses the order of summation by the
number of threads and the processor."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn.shown_text import on_one_line

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster

_SHORT = 100
_INSTRUCTIONS = re.compile(r"(?:avx|amx|fma|sse4)\w*")


def arithmetic(cluster: "Cluster") -> list[dict[str, str]]:
    """Gathers the facts of each rank; collective: every rank calls it and gets the same list."""
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    local = {
        "threads": str(cluster.cores.threads),
        "GPU": details.get("device_name", "unknown") if gpus else "none",
        **_processor(Path("/proc/cpuinfo").read_text()),
        "ONEDNN_MAX_CPU_ISA": os.environ.get("ONEDNN_MAX_CPU_ISA", "none"),
        "TensorFlow": tf.__version__,
    }
    by_rank: list[dict[str, str]] = cluster.gather(local)
    return by_rank


def _processor(cpuinfo: str) -> dict[str, str]:
    """The name and the instruction sets of the first processor in the text of /proc/cpuinfo."""
    facts = dict(re.findall(r"^(model name|flags)\s*: (.*)$", cpuinfo.partition("\n\n")[0], re.MULTILINE))
    instructions = sorted(filter(_INSTRUCTIONS.fullmatch, facts.get("flags", "").split()))
    return {"processor": facts.get("model name", "unknown"), "instructions": " ".join(instructions)}


def other_arithmetic(before: Any, now: list[dict[str, str]]) -> str:
    """Describes how the first rank whose facts have changed since the run began differs from then.

    Args:
        before: the result of `arithmetic` as read from the run's folder; not validated.
        now: its result now.

    Returns:
        A phrase for a message; empty if nothing differs, if `before` is unusable, or if the number of ranks has
        changed, which alters the bits anyway.
    """
    if not isinstance(before, list) or len(before) != len(now):
        return ""
    for rank, (old, new) in enumerate(zip(before, now, strict=True)):
        old = old if isinstance(old, dict) else {}
        changes = [_change(name, old[name], value) for name, value in new.items() if old.get(name, value) != value]
        if changes:
            return f"rank {rank} has {', '.join(changes)}"
    return ""


def differing_rank(by_rank: list[dict[str, str]]) -> str:
    """Describes the first rank whose facts other than the number of threads are not rank 0's; empty without one."""
    for rank, facts in enumerate(by_rank):
        changes = _changes_but_threads(by_rank[0], facts, "rank 0")
        if changes:
            return f"rank {rank} has {changes}"
    return ""


def other_processor(before: Any, now: dict[str, str]) -> str:
    """Describes how a rank's facts, apart from the number of threads, differ from rank 0's when the run began.

    Args:
        before: the result of `arithmetic` as read from the run's folder; not validated.
        now: the rank's facts now.

    Returns:
        A phrase for a message; empty if nothing differs or if `before` is unusable.
    """
    first = before[0] if isinstance(before, list) and before else None
    return _changes_but_threads(first, now, "before") if isinstance(first, dict) else ""


def _changes_but_threads(reference: Mapping[str, Any], facts: Mapping[str, str], origin: str) -> str:
    return ", ".join(
        _change(name, reference[name], value, origin)
        for name, value in facts.items()
        if name != "threads" and reference.get(name, value) != value
    )


def _change(name: str, old: Any, new: str, origin: str = "before") -> str:
    change = on_one_line(f"{name} {new} ({origin}: {old})")
    return change if len(change) < _SHORT else f"other {name}"
