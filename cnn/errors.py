"""Errors that are shown to the user as one sentence instead of a traceback."""

import contextlib
import difflib
import errno
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import NoReturn

from cnn.interruption import EXIT_CODE, guard_no_longer
from cnn.shown_text import on_one_line, print_anything

DIVERGED = "training has diverged"
"""Words of the sentence that ends a run whose loss is not finite; a sweep tells by them a result from a failure."""


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


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raises UserError, listing the choices and naming the closest, unless `value` is one of them."""
    choices = list(choices)
    if value in choices:
        return
    closest = difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
    hint = f" Did you mean '{closest[0]}'?" if closest else ""
    raise UserError(f"unknown {what} '{value}': choose one of {', '.join(choices)}.{hint}")


def storage_error(error: BaseException, folder: object = None, advice: str = "") -> RunError | None:
    """Says that a disk is full or may not be written to, if that is what the error tells.

    Args:
        error: an OSError, say, that nobody closer to the file has explained.
        folder: where the file is, for an error that does not name it.
        advice: how the sentence ends.
    """
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return None
    file = error.filename or ("a file" if folder is None else f"a file in {folder}")
    return RunError(f"{file} could not be written ({error.strerror}): make room there, or let it be written{advice}.")


def end_unread() -> NoReturn:
    """Ends this process as SIGPIPE does, without words: `| head` has read all that it wanted."""
    os._exit(128 + signal.SIGPIPE)


@contextlib.contextmanager
def told(interrupted: str | None = None) -> Iterator[None]:
    """Around all that a program of one process does: what is raised inside ends it with a sentence and an exit code.

    Args:
        interrupted: what to do after Ctrl-C, which is told only where there is something.
    """
    guard_no_longer()
    print_anything()
    try:
        yield
    except BrokenPipeError:
        end_unread()
    except (RunError, OSError) as error:
        explained = error if isinstance(error, RunError) else storage_error(error)
        if explained is None:
            raise
        print(f"{explained.label}: {explained}", file=sys.stderr)
        sys.exit(explained.exit_code)
    except KeyboardInterrupt:
        if interrupted is not None:
            print(f"error: ended by SIGINT; {interrupted}.", file=sys.stderr)
        sys.exit(EXIT_CODE)
