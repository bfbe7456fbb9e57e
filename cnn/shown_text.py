"""Texts that hold what is not ours, names of files above all, made fit to be shown."""

import os
import re
import shlex

# What drives a terminal, half characters of names that are no UTF-8, what ends a line, and what makes text run in
# another direction than its letters do, so that it reads as something else.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")

# The same without what programs make lines, tables and progress bars of.
_UNSHOWN_IN_LINES = re.compile(rf"(?![\n\t\r]){_UNSHOWN.pattern}")


def inert(text: str) -> str:
    """The text with what would drive a terminal, turn the direction of letters or cannot be printed written as escapes;
    lines and progress bars stay what they are."""
    return _UNSHOWN_IN_LINES.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def on_one_line(text: str) -> str:
    """The text with what would end the line, drive a terminal, turn the direction of letters or cannot be printed
    written as escapes."""
    return _UNSHOWN.sub(_escape, text)


def shell_word(path: str | os.PathLike[str]) -> str:
    """A path as one word of a shell's that can be printed and copied, and that no program takes for an option."""
    text = os.fspath(path)
    if text.startswith("-"):
        text = f"./{text}"
    if on_one_line(text) == text:
        return shlex.quote(text)
    plain = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "\\'" else f"\\x{byte:02x}" for byte in os.fsencode(text)
    )
    return f"$'{''.join(plain)}'"
