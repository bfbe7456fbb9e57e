"""What the last bits of a result depend on, besides the program and its settings: the order in which numbers are added
up, which TensorFlow chooses by threads and processor."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn.shown_text import on_one_line

if TYPE_CHECKING:
    from cnn.cluster.collectives import Cluster

_SHORT = 100
_INSTRUCTIONS = re.compile(r"(?:avx|amx|fma|sse4)\w*")


def arithmetic(cluster: "Cluster") -> list[dict[str, str]]:
    """By what each rank computes; every rank calls it, and has the same result."""
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    own = {
        "threads": str(cluster.cores.threads),
        "GPU": details.get("device_name", "unknown") if gpus else "none",
        **_processor(Path("/proc/cpuinfo").read_text()),
        "ONEDNN_MAX_CPU_ISA": os.environ.get("ONEDNN_MAX_CPU_ISA", "none"),
        "TensorFlow": tf.__version__,
    }
    everyone: list[dict[str, str]] = cluster.gather(own)
    return everyone


def _processor(described: str) -> dict[str, str]:
    """Name and instruction sets of the first processor in Linux's description of them."""
    facts = dict(re.findall(r"^(model name|flags)\s*: (.*)$", described.partition("\n\n")[0], re.MULTILINE))
    instructions = sorted(filter(_INSTRUCTIONS.fullmatch, facts.get("flags", "").split()))
    return {"processor": facts.get("model name", "unknown"), "instructions": " ".join(instructions)}


def other_arithmetic(before: Any, now: list[dict[str, str]]) -> str:
    """By what else than before a run is computed now, of the first rank that has something else.

    Args:
        before: what the run's folder tells of `arithmetic` then; whatever is there.
        now: the same of now.

    Returns:
        Empty where nothing differs or nothing is known, or with another number of ranks, which change the bits anyway.
    """
    if not isinstance(before, list) or len(before) != len(now):
        return ""
    for rank, (then, here) in enumerate(zip(before, now, strict=True)):
        then = then if isinstance(then, dict) else {}
        changes = [_change(name, then[name], value) for name, value in here.items() if then.get(name, value) != value]
        if changes:
            return f"rank {rank} has {', '.join(changes)}"
    return ""


def _change(name: str, then: Any, here: str) -> str:
    change = on_one_line(f"{name} {here} (before: {then})")
    return change if len(change) < _SHORT else f"other {name}"
