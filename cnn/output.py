"""What a program prints, on its way to standard output and standard error."""

import contextlib
import io
import select
import sys
from collections.abc import Callable, Iterator

from cnn.shown_text import inert, on_one_line

STANDARD_OUTPUT = "standard output"


class _Descriptor(io.FileIO):
    """Standard output or error, told by name in errors, and able to lose what cannot be written."""

    def __init__(self, descriptor: int, name: str, lost: Callable[[OSError], None] | None) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._shown_name = name
        self.lost = lost
        """What is called, instead of raising, when a full disk refuses something."""
        self.refused: OSError | None = None
        """What was raised, lest who prints keeps it to himself, as argparse does."""

    def write(self, content: "bytes | memoryview") -> int:  # type: ignore[override]
        try:
            # None: another program that shares it has made it one that does not wait.
            while (written := super().write(content)) is None:
                select.select([], [self], [])
            return written
        except BrokenPipeError:
            raise
        except OSError as error:
            named = OSError(error.errno, error.strerror, self._shown_name)
            if self.lost is None:
                self.refused = named
                raise named from error
            self.lost(named)
            return len(content)


class _Text(io.TextIOWrapper):
    """What is written to it does nothing but to be read."""

    def write(self, text: str) -> int:
        super().write(inert(text))
        return len(text)


def take_output() -> None:
    """From now on all that is printed can be, whatever is in a name.

    What cannot be encoded, or would drive a terminal, is written as escapes.

    A standard output that cannot be written raises OSError that says so; standard error loses what it cannot take.
    """
    _replace("stdout", STANDARD_OUTPUT, None)
    _replace("stderr", "standard error", lambda error: None)


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """What is printed inside has been written at the end, also when the program ends there; else OSError tells why not.

    Python itself would write the rest when all else is done, and know no better than to exit with code 120.
    """
    try:
        yield
    except SystemExit:
        _flush()
        raise
    _flush()


def go_on_unheard(tell: Callable[[str], None]) -> None:
    """From now on a standard output that cannot be written loses what is printed; `tell` hears of it once."""
    told: list[OSError] = []

    def lost(error: OSError) -> None:
        if not told:
            told.append(error)
            tell(f"{STANDARD_OUTPUT} cannot be written ({error.strerror}): what would be shown there is lost.")

    _replace("stdout", STANDARD_OUTPUT, lost)


def lose_the_rest() -> None:
    """From now on what standard output cannot take is lost without a word, so that the process can end."""
    _replace("stdout", STANDARD_OUTPUT, lambda error: None)


def say(line: str) -> None:
    """To who reads the errors, if anybody still does."""
    with contextlib.suppress(OSError):
        print(on_one_line(line), file=sys.stderr, flush=True)


def _flush() -> None:
    sys.stdout.flush()
    raw = getattr(sys.stdout.buffer, "raw", None)
    if isinstance(raw, _Descriptor) and raw.refused is not None and raw.lost is None:
        raise raw.refused


def _replace(name: str, shown_name: str, lost: Callable[[OSError], None] | None) -> None:
    stream = getattr(sys, name)
    if isinstance(stream, io.TextIOWrapper) and isinstance(raw := getattr(stream.buffer, "raw", None), _Descriptor):
        raw.lost = lost
    elif stream is getattr(sys, f"__{name}__"):
        raw = _Descriptor(stream.fileno(), shown_name, lost)
        text = _Text(
            io.BufferedWriter(raw),  # type: ignore[type-var]  # typeshed wants a wider write
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
