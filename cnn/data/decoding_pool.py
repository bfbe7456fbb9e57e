"""Worker processes that decode images and never outlive this one."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cnn.errors import RunError

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

MAX_WITHOUT_POOL = 64
"""Up to this number of images are decoded faster by this process than workers can be started."""


@contextlib.contextmanager
def decoding_pool(processes: int, advice: str) -> Iterator["ProcessPoolExecutor"]:
    """A pool of worker processes, which end with the context, however it ends, even if this process is killed.

    Args:
        processes: maximum number of processes.
        advice: what to do, after freeing memory, if a process was killed; the end of the error message.

    Raises:
        RunError: a worker process was killed, or memory is insufficient for an image.
    """
    import multiprocessing  # only here: data sets that are already prepared do without
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # Not forked: TensorFlow and MPI, which may run in this process, do not survive a fork.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_initialize)
    try:
        yield pool
    except (BrokenProcessPool, MemoryError):
        raise RunError(
            f"a process that decodes images was killed or ran out of memory: free some memory and {advice}."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _initialize() -> None:
    """Makes a worker end with its parent, and ignore the terminal's Ctrl-C, which the parent must handle first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
