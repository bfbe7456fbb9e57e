"""Worker processes that decode images and never outlive this one."""

import atexit
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from cnn.errors import RunError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor
    from multiprocessing.connection import Connection
    from queue import SimpleQueue

MAX_WITHOUT_POOL = 64
"""Up to this number of images are decoded faster by this process than workers can be started."""

_Result = TypeVar("_Result")


class _KilledError(Exception):
    """A worker process ended while it was working."""


class DecodingPool:
    """Worker processes, each with a thread of this process that hands it one call at a time.

    Not concurrent.futures.ProcessPoolExecutor, whose processes share one pipe for their results: if one is killed while
    it writes to it, as images are large, the pool waits forever.
    """

    def __init__(self, threads: "ThreadPoolExecutor", idle: "SimpleQueue[Connection]") -> None:
        self._threads = threads
        self._idle = idle

    def submit(self, function: Callable[..., _Result], *arguments: object) -> "Future[_Result]":
        """Calls a function in a worker process as soon as one is free."""
        return self._threads.submit(self._call, function, arguments)

    def _call(self, function: Callable[..., _Result], arguments: tuple[object, ...]) -> _Result:
        worker = self._idle.get()
        try:
            worker.send((function, arguments))
            result, error = worker.recv()
        except (EOFError, OSError):  # of the connection; what the function raised is in the answer
            raise _KilledError from None
        finally:
            self._idle.put(worker)
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]  # what the function returned in the worker process


@contextlib.contextmanager
def decoding_pool(processes: int, advice: str) -> Iterator[DecodingPool]:
    """A pool of worker processes, which end with the context, however it ends, even if this process is killed.

    Args:
        processes: number of processes.
        advice: what to do, after freeing memory, if a process was killed; the end of the error message.

    Raises:
        RunError: a worker process was killed, or memory is insufficient for an image.
    """
    import multiprocessing  # only here: data sets that are already prepared do without
    import queue
    from concurrent.futures import ThreadPoolExecutor

    # Not forked: TensorFlow and MPI, which may run in this process, do not survive a fork.
    context = multiprocessing.get_context("spawn")
    idle: SimpleQueue[Connection] = queue.SimpleQueue()
    threads = ThreadPoolExecutor(processes)
    with contextlib.ExitStack() as ending:
        ending.callback(threads.shutdown, cancel_futures=True)
        for _ in range(processes):
            connection, workers_end = context.Pipe()
            worker = context.Process(target=_work, args=(workers_end,))
            worker.start()
            workers_end.close()  # so that only the worker holds it, and its death can be read from the connection
            idle.put(connection)
            ending.callback(worker.join)
            ending.callback(atexit.unregister, worker.kill)
            ending.callback(worker.kill)  # whatever is to be kept has been returned by now
            atexit.register(worker.kill)  # if nobody ends the context
        try:
            yield DecodingPool(threads, idle)
        except (_KilledError, MemoryError):
            raise RunError(
                f"a process that decodes images was killed or ran out of memory: free some memory and {advice}."
            ) from None


def _work(connection: "Connection") -> None:
    """Serves calls until the process is killed. Signals to all processes of the program are the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # of the connection: the parent was killed
        while True:
            function, arguments = connection.recv()
            answer: tuple[Any, Exception | None]
            try:
                answer = function(*arguments), None
            except Exception as error:
                answer = None, error
            connection.send(answer)


def _end_with_parent() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
