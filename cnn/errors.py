"""Errors shown to the user as one sentence instead of a traceback."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

from cnn.environment import remove_invalid_variables
from cnn.interruption import EXIT_CODE, raise_on_interrupt
from cnn.output import flushed, ignore_lost_output, print_to_stderr, wrap_output
from cnn.shown_text import on_one_line
from cnn.surroundings import use_utf8

_NOT_WRITTEN = "{file} could not be written ({reason}): free disk space, or make it writable"
_RESOURCE_ERRORS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG), _NOT_WRITTEN),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "{file} could not be opened ({reason}): allow more (`ulimit -n`)"),
    errno.EIO: "{file} could not be read or written ({reason}): check its disk or connection",
    errno.ENOMEM: "there is not enough memory ({reason}): free some, or allow more (`ulimit -v`)",
    errno.EAGAIN: "no more processes can be started ({reason}): allow more (`ulimit -u`)",
}
"""Messages by errno, for resources that the operating system refused."""

DIVERGED = "training has diverged"
"""Part of the message that ends a run with non-finite numbers; by it a sweep distinguishes divergence from failure."""


class RunError(Exception):
    """Ends the run for a reason that is not a bug, for example a lost worker.

    Its text is the message shown, always on one line: line breaks in file names are escaped.
    """

    exit_code = 1
    label = "error"
    """Prefix of the message."""

    def __init__(self, message: str, *, agreed: bool = False) -> None:
        super().__init__(on_one_line(message))
        self.agreed = agreed
        """Whether every rank raises this same error, so that only one needs to report it."""

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows instead of a traceback."""
        return [f"{self.label}: {self}"]


class UserError(RunError):
    """A mistake that the user can fix; the message names the value, what is allowed and what to do."""

    exit_code = 2


class StoppedError(RunError):
    """The run was stopped cleanly by a signal; resuming continues it as if it had not been stopped."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h
    label = "stopped"


def diverged(step: int, cause: str) -> RunError:
    """Returns the error that ends a run on every rank when numbers are no longer finite; `cause` says which ones."""
    return RunError(
        f"at step {step} {cause}: {DIVERGED}; try a smaller --learning_rate. The last checkpoint is kept.", agreed=True
    )


def is_out_of_device_memory(error: BaseException) -> bool:
    """Whether it is TensorFlow's error, which is not imported here, of a device whose memory is too small."""
    kind, text = type(error).__name__, str(error)
    # The latter if a tensor cannot be copied to a GPU.
    return kind == "ResourceExhaustedError" or (kind == "InternalError" and "Dst tensor is not initialized" in text)


def explain_resource_error(error: BaseException, folder: object = None, advice: str = "") -> RunError | None:
    """Explains an error caused by a missing system resource (disk space, memory, threads, files); None for others.

    Args:
        error: an error that no code closer to its cause has explained, for example an OSError.
        folder: the file's folder, named if the error does not name the file.
        advice: end of the message.
    """
    if isinstance(error, MemoryError):
        return RunError(f"there is not enough memory: free some, or allow more (`ulimit -v`){advice}.")
    if is_out_of_device_memory(error):
        return RunError(f"the device's memory is too small: choose a smaller batch, network or image{advice}.")
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return RunError(f"no more threads can be started: allow more (`ulimit -u`){advice}.")
    if isinstance(error, ImportError) and "shared object" in str(error):
        return RunError(f"a library could not be loaded ({error}): allow more memory (`ulimit -v`){advice}.")
    if not isinstance(error, OSError) or error.errno not in _RESOURCE_ERRORS:
        return None
    file = error.filename or ("a file" if folder is None else f"a file in {folder}")
    message = _RESOURCE_ERRORS[error.errno].format(file=file, reason=error.strerror)
    return RunError(f"{message}{advice}.")


def exit_on_broken_pipe() -> NoReturn:
    """Ends this process silently, as SIGPIPE does: the reader, for example `| head`, closed the pipe."""
    os._exit(128 + signal.SIGPIPE)


@contextlib.contextmanager
def report_errors(interrupted: str | None = None, *, starts_ranks: bool = False) -> Iterator[None]:
    """Wraps the main function of a single-process program: errors end it with a one-line message and an exit code.

    Args:
        interrupted: advice printed after Ctrl-C; without it nothing is printed.
        starts_ranks: whether the program starts processes that use Horovod, whose variables are then checked.
    """
    raise_on_interrupt()
    use_utf8()
    wrap_output()
    try:
        invalid = remove_invalid_variables(os.environ, horovod=starts_ranks)
        if invalid:
            raise UserError(invalid)
        with flushed():
            yield
    except BrokenPipeError:
        exit_on_broken_pipe()
    except KeyboardInterrupt:
        if interrupted is None:
            sys.exit(EXIT_CODE)
        _end(f"error: ended by SIGINT; {interrupted}.", EXIT_CODE)
    except Exception as error:
        explained = error if isinstance(error, RunError) else explain_resource_error(error)
        if explained is None:
            raise
        _end(f"{explained.label}: {explained}", explained.exit_code)


def _end(message: str, exit_code: int) -> NoReturn:
    print_to_stderr(message)
    ignore_lost_output()
    sys.exit(exit_code)
