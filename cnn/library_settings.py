"""Overrides environment variables that TensorFlow, Keras and the libraries below them read.

They may be set for other programs; without them, a run depends only on its settings, wherever it is started.
"""

import os
import sys
from collections.abc import MutableMapping

_PREFIXES = ("KERAS_", "TF_", "TF2_", "XLA_")
_PRECISION_OVERRIDES = ("NVIDIA_TF32_OVERRIDE", "DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE")
"""Variables that can make float32 arithmetic use shorter types."""

_KEPT = ("TF_CPP_", "TF_CONFIG", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR")
"""Logging and memory allocation, which change no result; and TF_CONFIG, which TensorFlow does not read here, but which
shows whether other workers were started."""


def override_library_settings(environment: MutableMapping[str, str]) -> None:
    """Removes from the environment, for this process and its children, the variables that change computed results.

    In a session of Python or a notebook, Keras keeps its folder, where it stores data sets, and its keras.json.
    """
    interactive = hasattr(sys, "ps1")
    cuda_flags = [
        flag for flag in environment.get("XLA_FLAGS", "").split() if flag.startswith("--xla_gpu_cuda_data_dir=")
    ]
    for name in [*environment]:
        if interactive and name == "KERAS_HOME":
            continue
        if name in _PRECISION_OVERRIDES or (name.startswith(_PREFIXES) and not name.startswith(_KEPT)):
            del environment[name]
    if cuda_flags:
        environment["XLA_FLAGS"] = cuda_flags[-1]  # the location of CUDA changes no result
    environment["KERAS_BACKEND"] = "tensorflow"
    if not interactive:
        environment["KERAS_HOME"] = os.devnull  # no keras.json can be read or written there
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
