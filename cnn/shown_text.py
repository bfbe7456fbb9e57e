"""Texts that hold what is not ours, names of files above all, made fit to be shown."""

import os
import shlex
import unicodedata

# What drives a terminal, half characters of names that are no UTF-8, and what ends a line.
_UNSHOWN = ("Cc", "Cs", "Zl", "Zp")

# What turns the order of letters around, by Unicode's classes: a name with such a mark would change how the text after
# it reads. Arabic and Hebrew letters need none of them.
_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def on_one_line(text: str) -> str:
    """The text with what would end the line, drive a terminal or cannot be printed written as escapes."""
    return "".join(ascii(letter)[1:-1] if _is_unshown(letter) else letter for letter in text)


def _is_unshown(letter: str) -> bool:
    return unicodedata.category(letter) in _UNSHOWN or unicodedata.bidirectional(letter) in _TURNING


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
