"""Errors that are shown to the user as one sentence instead of a traceback."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

from cnn.environment import take_out_mistakes
from cnn.interruption import EXIT_CODE, guard_no_longer
from cnn.output import flushed, lose_the_rest, say, take_output
from cnn.shown_text import on_one_line
from cnn.surroundings import use_utf8

_UNWRITTEN = "{file} could not be written ({reason}): make room there, or let it be written"
_LACKING = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG), _UNWRITTEN),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "{file} could not be opened ({reason}): allow more (`ulimit -n`)"),
    errno.EIO: "{file} could not be read or written ({reason}): look at its disk or connection",
    errno.ENOMEM: "there is not enough memory ({reason}): free some, or allow more (`ulimit -v`)",
    errno.EAGAIN: "no more processes can be started ({reason}): allow more (`ulimit -u`)",
}
"""What the system has refused, by the error's number."""

DIVERGED = "training has diverged"
"""Words of the sentence that ends a run whose numbers are not finite; a sweep tells by them a result from a failure."""


class RunError(Exception):
    """Something ended the run that is no mistake in our code: a lost worker, say.

    The text is the sentence shown. It is on one line, whatever the names in it hold.
    """

    exit_code = 1
    label = "error"
    """What the sentence begins with."""

    def __init__(self, sentence: str, *, agreed: bool = False) -> None:
        super().__init__(on_one_line(sentence))
        self.agreed = agreed
        """Whether every rank raises this same error, so that one of them speaks for all."""


class UserError(RunError):
    """A mistake that the user can mend: its text names the value, what is allowed and what to do."""

    exit_code = 2


class StoppedError(RunError):
    """A signal asked a run to end, which it did in good order: it goes on later as if it had not been stopped."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h
    label = "stopped"


def diverged(step: int, what: str) -> RunError:
    """What ends a run, on every rank, whose numbers are no longer finite; `what` says which, and how one knows."""
    return RunError(
        f"at step {step} {what}: {DIVERGED}; try a smaller --learning_rate. The last checkpoint is kept.", agreed=True
    )


def outside_error(error: BaseException, folder: object = None, advice: str = "") -> RunError | None:
    """Says what a program lacks that its surroundings should have given it, if that is what the error tells.

    Args:
        error: an OSError for example, that nobody closer to what failed has explained.
        folder: where the file is, for an error that does not name it.
        advice: how the sentence ends.
    """
    if isinstance(error, MemoryError):
        return RunError(f"there is not enough memory: free some, or allow more (`ulimit -v`){advice}.")
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return RunError(f"no more threads can be started: allow more (`ulimit -u`){advice}.")
    if isinstance(error, ImportError) and "shared object" in str(error):
        return RunError(f"a library could not be loaded ({error}): allow more memory (`ulimit -v`){advice}.")
    if not isinstance(error, OSError) or error.errno not in _LACKING:
        return None
    file = error.filename or ("a file" if folder is None else f"a file in {folder}")
    what = _LACKING[error.errno].format(file=file, reason=error.strerror)
    return RunError(f"{what}{advice}.")


def end_unread() -> NoReturn:
    """Ends this process as SIGPIPE does, without words: `| head` has read all that it wanted."""
    os._exit(128 + signal.SIGPIPE)


@contextlib.contextmanager
def report_errors(interrupted: str | None = None, *, starts_ranks: bool = False) -> Iterator[None]:
    """Around all that a program of one process does: what is raised inside ends it with a sentence and an exit code.

    Args:
        interrupted: what to do after Ctrl-C, which is told only where there is something.
        starts_ranks: whether the program starts processes that use Horovod, so that its variables matter.
    """
    guard_no_longer()
    use_utf8()
    take_output()
    try:
        mistake = take_out_mistakes(os.environ, horovod=starts_ranks)
        if mistake:
            raise UserError(mistake)
        with flushed():
            yield
    except BrokenPipeError:
        end_unread()
    except KeyboardInterrupt:
        if interrupted is None:
            sys.exit(EXIT_CODE)
        _end(f"error: ended by SIGINT; {interrupted}.", EXIT_CODE)
    except Exception as error:
        explained = error if isinstance(error, RunError) else outside_error(error)
        if explained is None:
            raise
        _end(f"{explained.label}: {explained}", explained.exit_code)


def _end(sentence: str, exit_code: int) -> NoReturn:
    say(sentence)
    lose_the_rest()
    sys.exit(exit_code)
