"""Processes that decode images beside this one and never outlive it."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cnn.errors import RunError

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

WORTH_NO_POOL = 64
"""So many images are decoded sooner than other processes are started."""


@contextlib.contextmanager
def decoding_pool(processes: int, advice: str) -> Iterator["ProcessPoolExecutor"]:
    """Starts processes, which are gone when this ends, whatever ends it, also if this process is killed.

    Args:
        processes: how many, at most.
        advice: what to do when one of them was killed, after memory has been made free.

    Raises:
        RunError: one of the processes was killed, or there is too little memory for an image.
    """
    import multiprocessing  # only here: what is prepared already needs none
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # Not forked: TensorFlow and MPI, which may run here, do not survive that.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        yield pool
    except (BrokenProcessPool, MemoryError):
        raise RunError(
            f"a process that decodes images was killed or had too little memory: make some free and {advice}."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A worker ends with its parent, and not by the terminal's Ctrl-C before the parent has seen that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
