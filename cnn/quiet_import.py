"""Imports TensorFlow without the information lines that it writes before its log level can be set, and sooner."""

import importlib
import os
import sys

from cnn.interruption import guarded

_NOISE = (
    b"WARNING: All log messages before absl::InitializeLog()",
    b"I0000 ",
    b"To enable the following instructions:",
)

_UNUSED = ("sklearn", "matplotlib")
"""What Keras loads, if it is there, for wrappers and pictures that nobody uses here: a quarter of all the time."""


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow; whatever else it writes to standard error while it loads is passed on afterwards."""
    hidden = [name for name in _UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: as if it were not installed
    sys.stderr.flush()
    terminal = os.dup(2)
    with open(os.memfd_create("said by TensorFlow"), "w+b") as captured:  # needs no room on a disk
        os.dup2(captured.fileno(), 2)
        try:
            with guarded():
                importlib.import_module("tensorflow")
        finally:
            for name in hidden:
                del sys.modules[name]
            os.dup2(terminal, 2)
            os.close(terminal)
            captured.seek(0)
            for line in captured:
                if not line.startswith(_NOISE):
                    os.write(2, line)
