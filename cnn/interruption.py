"""Ctrl-C while a program starts: the process exits without a traceback from the middle of an import.

Exits immediately instead of raising KeyboardInterrupt, which imports may convert (NumPy: to an ImportError).
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

EXIT_CODE = 128 + signal.SIGINT


def install_exit_on_interrupt() -> None:
    """Makes Ctrl-C end this project's programs immediately: `cnn`, the scripts in jobs/, and modules run with -m.

    Other programs that import cnn keep their handler.
    """
    main = getattr(sys.modules["__main__"], "__file__", None)
    jobs = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "jobs")
    starting_with_m = sys.argv[:1] == ["-m"]  # only while Python locates the module, which is in this package
    if starting_with_m or (
        main and (os.path.basename(main) == "cnn" or os.path.dirname(os.path.realpath(main)) == jobs)
    ):
        _replace(signal.default_int_handler, _end)


def raise_on_interrupt() -> None:
    """Undoes `install_exit_on_interrupt`: Ctrl-C raises KeyboardInterrupt again."""
    _replace(_end, signal.default_int_handler)


@contextlib.contextmanager
def temporarily_exit_on_interrupt() -> Iterator[None]:
    """Makes Ctrl-C end the process immediately while the context is active.

    Does nothing if SIGINT has another handler than Python's, which raises KeyboardInterrupt.
    """
    replaced = _replace(signal.default_int_handler, _end)
    try:
        yield
    finally:
        if replaced:
            raise_on_interrupt()


def _end(*_: object) -> None:
    os._exit(EXIT_CODE)


def _replace(expected: object, handler: Callable[..., object]) -> bool:
    """Replaces SIGINT's handler if it is `expected`, and returns whether it was replaced.

    Any other handler, including SIG_IGN, is kept.
    """
    if signal.getsignal(signal.SIGINT) is not expected:
        return False
    try:
        signal.signal(signal.SIGINT, handler)
    except ValueError:  # not the main thread: only there can handlers be set, and only there do they run
        return False
    return True
