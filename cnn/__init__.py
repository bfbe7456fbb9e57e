"""Distributed training of the classic convolutional networks."""

import importlib
import os
from typing import TYPE_CHECKING, Any

__path__ = [os.path.dirname(os.path.realpath(__file__))]  # not jobs/cnn, a link through which the programs find cnn

from cnn.surroundings import check_surroundings

check_surroundings()

# Imported after the check, as an older Python may not be able to parse them.
from cnn.interruption import install_exit_on_interrupt  # noqa: E402
from cnn.library_settings import override_library_settings  # noqa: E402

install_exit_on_interrupt()
override_library_settings(os.environ)  # read once, when Keras and TensorFlow are first imported

if TYPE_CHECKING:
    from cnn.notebook.plain_network import network
    from cnn.notebook.trained_network import load
    from cnn.notebook.training import train

__all__ = ["load", "network", "train"]

_MODULES = {"load": "trained_network", "network": "plain_network", "train": "training"}


def __getattr__(name: str) -> Any:
    """Imports a public function when it is first used, as programs that import cnn need none of them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"cnn.notebook.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
