"""Compiles the installed modules that the project's programs import: `python -B imported_bytecode.py`.

The image's file system may be read-only, so that Python could not do it there. Bytecode of all installed modules would
take 50 MB more. Importing them also shows that their libraries can be loaded.
"""

import importlib
import py_compile
import sys
from pathlib import Path

_IMPORTED = (
    "argcomplete",
    "cv2",
    "filelock",
    "h5py",
    "horovod.runner.launch",
    "horovod.tensorflow",
    "jsonargparse",
    "keras",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "PIL.Image",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "prometheus_client",
    "psutil",
    "requests",
    "safetensors.numpy",
    "scipy.io",
    "scipy.special",
    "simplejpeg",
    "tensorboard.main",
    "tensorflow",
    "yaml",
)


def main() -> None:
    """Compiles them; the bytecode is never compared with its source, whose time differs from build to build."""
    for name in _IMPORTED:
        importlib.import_module(name)
    for module in list(sys.modules.values()):
        path = Path(getattr(module, "__file__", None) or "")
        if path.suffix == ".py" and path.is_relative_to(sys.prefix) and path.is_file():
            py_compile.compile(str(path), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


if __name__ == "__main__":
    main()
