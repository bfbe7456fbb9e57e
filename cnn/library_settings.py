"""Environment variables that TensorFlow, Keras and the libraries below them read, possibly set for other programs.

They are overridden so that a run computes what its settings say, wherever it is started.
"""

import os
from collections.abc import MutableMapping

_PREFIXES = ("KERAS_", "TF_", "TF2_", "XLA_")
_OTHERS = ("NVIDIA_TF32_OVERRIDE", "DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE")
"""These can make float32 arithmetic use shorter types."""

_KEPT = ("TF_CPP_", "TF_CONFIG", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR")
"""Logging and memory allocation, which change no result; and TF_CONFIG, which TensorFlow never reads here, but which
shows whether other workers were started."""


def override_library_settings(environment: MutableMapping[str, str]) -> None:
    """Removes from the environment, for this process and its children, everything that changes computed results."""
    cuda = [word for word in environment.get("XLA_FLAGS", "").split() if word.startswith("--xla_gpu_cuda_data_dir=")]
    for name in [*environment]:
        if name in _OTHERS or (name.startswith(_PREFIXES) and not name.startswith(_KEPT)):
            del environment[name]
    if cuda:
        environment["XLA_FLAGS"] = cuda[-1]  # the location of CUDA changes no result
    environment["KERAS_BACKEND"] = "tensorflow"
    environment["KERAS_HOME"] = os.devnull  # no keras.json can be read or written there
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
