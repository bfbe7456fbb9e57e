"""Ctrl-C while a program starts: it ends, without a traceback of what it was just importing.

An exception would not do: NumPy, for example, makes an ImportError of it.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

EXIT_CODE = 128 + signal.SIGINT


def guard_start() -> None:
    """From now on Ctrl-C ends the process at once, if it is one of this project's programs and not a guest's."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    jobs = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "jobs")
    module = sys.argv[:1] == ["-m"]  # as long as Python looks for it: what it looks for is in this package
    if module or (main is not None and os.path.dirname(os.path.realpath(main)) == jobs):
        _replace(signal.default_int_handler, _end)


def guard_no_longer() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, as ever."""
    _replace(_end, signal.default_int_handler)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Inside, Ctrl-C ends the process at once, where it would raise KeyboardInterrupt outside."""
    replaced = _replace(signal.default_int_handler, _end)
    try:
        yield
    finally:
        if replaced:
            guard_no_longer()


def _end(*_: object) -> None:
    os._exit(EXIT_CODE)


def _replace(before: object, after: Callable[..., object]) -> bool:
    """Whether a handler was the one that there was; what was ignored or is somebody else's stays."""
    if signal.getsignal(signal.SIGINT) is not before:
        return False
    try:
        signal.signal(signal.SIGINT, after)
    except ValueError:  # not in the main thread, where no handler can be set, and none runs
        return False
    return True
