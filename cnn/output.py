"""Streams for standard output and error that can handle full disks, and print any name."""

import contextlib
import io
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator

from cnn.json_lines import json_line, wants_json
from cnn.shown_text import inert, on_one_line
from cnn.terminal import columns, has_terminal

STANDARD_OUTPUT = "standard output"


class _Descriptor(io.FileIO):
    """Standard output or error, named in its errors, and able to discard output that cannot be written."""

    def __init__(self, descriptor: int, name: str, on_lost: Callable[[OSError], None] | None) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._shown_name = name
        self.on_lost = on_lost
        """Called, instead of raising, when output cannot be written, for example to a full disk."""
        self.raised: OSError | None = None
        """The last error raised, kept as callers such as argparse swallow it."""

    def write(self, content: "bytes | memoryview") -> int:  # type: ignore[override]
        try:
            # None: another program that shares the descriptor has made it non-blocking.
            while (written := super().write(content)) is None:
                select.select([], [self], [])
            return written
        except BrokenPipeError:
            raise
        except OSError as error:
            named = OSError(error.errno, error.strerror, self._shown_name)
            if self.on_lost is None:
                self.raised = named
                raise named from error
            self.on_lost(named)
            return len(content)


class _Text(io.TextIOWrapper):
    """Text stream that escapes control characters, so that output cannot drive the terminal."""

    def write(self, text: str) -> int:
        super().write(inert(text))
        return len(text)


class _JsonText(io.TextIOWrapper):
    """Text stream that prints each complete line as a JSON object, and omits empty ones."""

    level = "info"
    """Of a line that does not say it."""

    _incomplete = ""

    def write(self, text: str) -> int:
        with _complete:
            *lines, self._incomplete = f"{self._incomplete}{text}".split("\n")
            for line in filter(str.strip, lines):
                super().write(f"{json_line(line, self.level, os.environ)}\n")
        return len(text)


_complete = threading.RLock()
"""Held while lines are completed, as several threads print."""


def wrap_output() -> None:
    """Replaces standard output and error by streams that can print any name.

    With CNN_LOG_FORMAT=json each line is a JSON object. Otherwise, characters that cannot be encoded or would drive a
    terminal are escaped. Standard output raises OSError, with its
    name, when it cannot be written; standard error discards what it cannot write.
    """
    _replace("stdout", STANDARD_OUTPUT, None)
    _replace("stderr", "standard error", lambda error: None)


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Flushes standard output at the end of the context, also on SystemExit; raises OSError if it cannot be written.

    Otherwise Python would flush at interpreter shutdown, and on failure only exit with code 120.
    """
    try:
        yield
    except SystemExit:
        _flush()
        raise
    _flush()


def warn_of_lost_output(warn: Callable[[str], None]) -> None:
    """Makes standard output discard what it cannot write, instead of raising; `warn` is called the first time."""
    errors: list[OSError] = []

    def on_lost(error: OSError) -> None:
        if not errors:
            errors.append(error)
            warn(f"{STANDARD_OUTPUT} cannot be written ({error.strerror}): further output there is lost.")

    _replace("stdout", STANDARD_OUTPUT, on_lost)


def ignore_lost_output() -> None:
    """Makes standard output silently discard what it cannot write, so that the process can end."""
    _replace("stdout", STANDARD_OUTPUT, lambda error: None)


def print_to_stderr(line: str) -> None:
    """Prints a line to standard error, ignoring failures; on a terminal it replaces a progress bar."""
    text = on_one_line(line)
    if has_terminal(sys.stderr, os.environ):
        text = f"\r{text.ljust(columns(sys.stderr) - 1)}"
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _flush() -> None:
    sys.stdout.flush()
    raw = getattr(sys.stdout.buffer, "raw", None)
    if isinstance(raw, _Descriptor) and raw.raised is not None and raw.on_lost is None:
        raise raw.raised


def _replace(name: str, shown_name: str, on_lost: Callable[[OSError], None] | None) -> None:
    stream = getattr(sys, name)
    if isinstance(stream, io.TextIOWrapper) and isinstance(raw := getattr(stream.buffer, "raw", None), _Descriptor):
        raw.on_lost = on_lost
    elif stream is getattr(sys, f"__{name}__"):
        raw = _Descriptor(stream.fileno(), shown_name, on_lost)
        text = (_JsonText if wants_json(os.environ) else _Text)(
            io.BufferedWriter(raw),  # type: ignore[type-var]  # typeshed requires a wider write
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        if isinstance(text, _JsonText) and name == "stderr":
            text.level = "warning"
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
