"""Escaping of untrusted text, above all file names, for display."""

import os
import re
import shlex
from collections.abc import Iterable

# Control characters, lone surrogates of names that are not UTF-8, line ends, and directional formatting characters,
# which make text read differently from what it is.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")

# The same without the characters that lay out lines, tables and progress bars.
_UNSHOWN_IN_LINES = re.compile(rf"(?![\n\t\r]){_UNSHOWN.pattern}")


def inert(text: str) -> str:
    """Escapes control, directional and unprintable characters, except newlines, tabs and carriage returns."""
    return _UNSHOWN_IN_LINES.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


def on_one_line(text: str) -> str:
    """Escapes line ends and all control, directional and unprintable characters."""
    return _UNSHOWN.sub(_escape, text)


def counted(number: float, noun: str) -> str:
    """A number with its noun, for example `1 step` or `1,260 steps`."""
    text = f"{number:,}" if isinstance(number, int) else f"{number:,.7g}"
    return f"{text} {noun}{'' if number == 1 else 's'}"


def shell_word(path: str | os.PathLike[str]) -> str:
    """Quotes a path as one printable shell word that can be copied and that no program takes for an option."""
    text = os.fspath(path)
    return _quoted(f"./{text}" if text.startswith("-") else text)


def shell_words(words: Iterable[str]) -> str:
    """Quotes the words of a command so that the command can be copied."""
    return " ".join(map(_quoted, words))


def _quoted(text: str) -> str:
    if on_one_line(text) == text:
        return shlex.quote(text)
    escaped = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "\\'" else f"\\x{byte:02x}" for byte in os.fsencode(text)
    )
    return f"$'{''.join(escaped)}'"
