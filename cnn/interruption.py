"""Ctrl-C while a program starts: the process exits without a traceback from the middle of an import.

KeyboardInterrupt would not do: NumPy, for example, turns it into an ImportError.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

EXIT_CODE = 128 + signal.SIGINT


def install_exit_on_interrupt() -> None:
    """Makes Ctrl-C end the process immediately in this project's programs, but not in others that import cnn."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    jobs = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "jobs")
    module = sys.argv[:1] == ["-m"]  # only while Python is still locating the module, which is then in this package
    if module or (main is not None and os.path.dirname(os.path.realpath(main)) == jobs):
        _replace(signal.default_int_handler, _end)


def raise_on_interrupt() -> None:
    """Undoes `install_exit_on_interrupt`: Ctrl-C raises KeyboardInterrupt again."""
    _replace(_end, signal.default_int_handler)


@contextlib.contextmanager
def temporarily_exit_on_interrupt() -> Iterator[None]:
    """Makes Ctrl-C end the process immediately inside the context, if it raises KeyboardInterrupt outside."""
    replaced = _replace(signal.default_int_handler, _end)
    try:
        yield
    finally:
        if replaced:
            raise_on_interrupt()


def _end(*_: object) -> None:
    os._exit(EXIT_CODE)


def _replace(expected: object, handler: Callable[..., object]) -> bool:
    """Sets SIGINT's handler if the current one is `expected`; returns whether. Others, and SIG_IGN, stay."""
    if signal.getsignal(signal.SIGINT) is not expected:
        return False
    try:
        signal.signal(signal.SIGINT, handler)
    except ValueError:  # not the main thread: only there can handlers be set, and only there do they run
        return False
    return True
