"""The libraries that TensorFlow opens by name before it lists a GPU; whether they open is checked as it opens them.

launch/setup.sh --gpu runs this file, which needs nothing else of this package: it links the libraries that TensorFlow
would not find, and opens all of them.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

DRIVER_LIBRARIES = ("libcuda.so.1", "libnvidia-ml.so.1")
"""The driver's, which come with it. TensorFlow lists no GPU without either."""

NEEDED_DRIVER = "525.60.13"
"""The first driver for CUDA 12, which works with every CUDA 12."""

NEEDED_CUDA = 12000
"""CUDA's version of that driver, as cuDriverGetVersion has it."""

CUDA_LIBRARIES = (
    "libcudart.so.12",
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcufft.so.11",
    "libcusolver.so.11",
    "libcusparse.so.12",
    "libcudnn.so.9",
    # cuDNN opens these itself when it computes convolutions.
    "libcudnn_graph.so.9",
    "libcudnn_ops.so.9",
    "libcudnn_cnn.so.9",
    "libcudnn_heuristic.so.9",
    "libcudnn_engines_precompiled.so.9",
    "libcudnn_engines_runtime_compiled.so.9",
    "libcupti.so.12",  # for profiles
)
"""Those of NVIDIA's Python packages, in the versions that TensorFlow 2.21 names."""

INCOMPLETE = 3
"""Exit code if one of CUDA's libraries does not open; Python's own errors end with 1."""

_LINKS = Path("nvidia", "cuda_runtime", "lib")
"""The folder for links, one of those in which TensorFlow looks; as deep as the libraries' own folders, because these
find each other relative to the folder in which they were opened."""

_LOADER = Path("tensorflow", "libtensorflow_framework.so.2")
"""The part of TensorFlow that opens libraries, in the folders that are listed in it."""

_SEARCHED = re.compile(rb"\$ORIGIN/\.\./(nvidia/\w+/lib)")


def unopened(names: Sequence[str]) -> dict[str, str]:
    """Opens libraries as TensorFlow does; the loader's reason for each that does not open.

    If it is another library, needed by one of these, that does not open, the reason is under that one's name.
    """
    import tensorflow as tf

    reasons = {}
    for name in names:
        try:
            # Not ctypes.CDLL, which does not search the folders that are listed in TensorFlow.
            tf.load_op_library(name)
        except (tf.errors.OpError, RuntimeError) as error:
            culprit, _, reason = str(getattr(error, "message", error)).partition(": ")
            reasons[Path(culprit).name] = reason
    return reasons


def link_unfound(packages: Path) -> list[str]:
    """Links the libraries that are in folders in which TensorFlow does not look, into one in which it looks.

    Args:
        packages: the folder of the installed packages.

    Returns:
        The libraries that were linked.
    """
    searched = {Path(os.fsdecode(each)) for each in _SEARCHED.findall((packages / _LOADER).read_bytes())}
    linked = []
    for name in CUDA_LIBRARIES:
        found = sorted(path.relative_to(packages) for path in packages.glob(f"nvidia/*/lib/{name}"))
        if found and not searched.intersection(path.parent for path in found):
            link = packages / _LINKS / name
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(packages / found[0], link.parent))
            linked.append(name)
    return linked


def main() -> int:
    """Links and opens the libraries, and prints what is missing; returns the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tensorflow = importlib.util.find_spec("tensorflow")
    assert tensorflow is not None and tensorflow.origin is not None  # the set-up has just installed it
    link_unfound(Path(tensorflow.origin).parents[1])
    driver = unopened(DRIVER_LIBRARIES)
    missing = {name: reason for name, reason in unopened(CUDA_LIBRARIES).items() if name not in driver}
    for name, reason in missing.items():
        print(
            f"TensorFlow cannot open {name} ({reason}), which it needs to use a GPU: remove .venv and run "
            "`bash launch/setup.sh --gpu` again."
        )
    if driver:
        print(
            f"there is no complete NVIDIA driver here ({' and '.join(driver)} cannot be opened), which the set-up does "
            f"not need; training on GPUs needs a driver of version {NEEDED_DRIVER} or later."
        )
    return INCOMPLETE if missing else 0


if __name__ == "__main__":
    sys.exit(main())
