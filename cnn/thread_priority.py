"""The priority of threads that work in the background."""

import os
import threading

_NICENESS = 7
"""Niceness of such a thread: it gets a sixth of a core shared with training, so that it hardly delays a step."""


def lower_priority() -> None:
    """Lets training go before the calling thread, which writes in the background."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(_NICENESS, os.nice(0)))  # on Linux, of this thread
