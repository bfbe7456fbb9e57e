"""What TensorFlow, Keras and the libraries below them read from the environment, which may be meant for other programs.

A run is to compute what its settings say, wherever it is started.
"""

import os
from collections.abc import MutableMapping

_PREFIXES = ("KERAS_", "TF_", "TF2_", "XLA_")
_OTHERS = ("NVIDIA_TF32_OVERRIDE", "DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE")
"""With these float32 is computed in shorter types, asked for or not."""

_KEPT = ("TF_CPP_", "TF_CONFIG", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR")
"""What is written, and how memory is got: that changes no result. TensorFlow's list of a cluster's workers, which it is
never asked to read, tells who else was started."""


def use_own_settings(environment: MutableMapping[str, str]) -> None:
    """Leaves in the environment, for this process and those that it starts, nothing that changes what is computed."""
    cuda = [word for word in environment.get("XLA_FLAGS", "").split() if word.startswith("--xla_gpu_cuda_data_dir=")]
    for name in [*environment]:
        if name in _OTHERS or (name.startswith(_PREFIXES) and not name.startswith(_KEPT)):
            del environment[name]
    if cuda:
        environment["XLA_FLAGS"] = cuda[-1]  # where it is, not what is done with it
    environment["KERAS_BACKEND"] = "tensorflow"
    environment["KERAS_HOME"] = os.devnull  # where no keras.json can be, to read or to write
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
