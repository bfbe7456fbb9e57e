"""Imports TensorFlow faster, and without the information lines that it logs before its log level can be set."""

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Iterator

from cnn.interruption import temporarily_exit_on_interrupt

_NOISE = (
    b"WARNING: All log messages before absl::InitializeLog()",
    b"I0000 ",
    b"To enable the following instructions:",
)

_UNUSED = ("IPython", "jax", "matplotlib", "pandas", "pydot", "scipy", "sklearn")
"""TensorFlow and Keras import these, if installed, for parts not used here; they take a third of the import time."""


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow for a program; Ctrl-C ends the process meanwhile."""
    if "tensorflow" in sys.modules:
        return
    hidden = [name for name in _UNUSED if name not in sys.modules]
    gc.disable()  # it would examine the growing number of objects again and again, for a sixth of the import time
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: as if it were not installed
    try:
        with without_noise(), temporarily_exit_on_interrupt():
            importlib.import_module("tensorflow")
    finally:
        for name in hidden:
            del sys.modules[name]
        gc.freeze()  # modules live as long as the process: no later collection need examine them
        gc.enable()


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Prints what the context writes to standard error when it ends, without lines of `_NOISE`."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with open(os.memfd_create("TensorFlow's stderr"), "w+b") as captured:  # in memory, needs no disk space
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            captured.seek(0)
            for line in captured:
                if not line.startswith(_NOISE):
                    os.write(2, line)
