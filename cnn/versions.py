"""The versions that --version prints."""

import contextlib
import importlib.metadata

_NAMES = {
    "cnn": ("cnn",),
    "TensorFlow": ("tensorflow", "tensorflow-cpu"),
    "Keras": ("keras",),
    "Horovod": ("horovod",),
}
"""What is shown, and the packages that may provide it."""


def version_line() -> str:
    """The versions of this project and of what it computes with, without importing them."""
    return ", ".join(f"{name} {_version(packages)}" for name, packages in _NAMES.items())


def _version(packages: tuple[str, ...]) -> str:
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package)
    return "not installed"
