"""Names that are not ours, as people and shells get them."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cnn.errors import RunError, UserError
from cnn.shown_text import on_one_line, shell_word

ROOT = Path(__file__).parents[1]
DRIVING = {"Cc", "Cs", "Zl", "Zp"}
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}

# Those that file systems allow, among them bytes that are no UTF-8.
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from(
    "\udcc3\udcff\n'\"\\$`-\x1b\x9b\x7f\u202e\u2066\u2028 "
)
PATHS = st.text(LETTERS, max_size=12) | st.text(LETTERS, max_size=12).map("-{}".format)


@given(PATHS)
def test_any_text_is_shown_on_one_line_and_can_be_printed(path: str) -> None:
    shown = on_one_line(path)
    assert shown.encode().decode() == shown
    assert len(shown.splitlines()) <= 1
    assert not DRIVING & {unicodedata.category(letter) for letter in shown}
    assert not TURNING & {unicodedata.bidirectional(letter) for letter in shown}
    assert on_one_line(shown) == shown
    for kind in (RunError, UserError):
        assert str(kind(path)) == shown


def test_a_name_does_not_turn_around_what_follows_it() -> None:
    assert on_one_line("cat\u202egpj.exe \u2066x") == r"cat\u202egpj.exe \u2066x"
    assert on_one_line("\u05d0\u05d1 \u0645\u200c\u0627") == "\u05d0\u05d1 \u0645\u200c\u0627"


@settings(max_examples=50, deadline=None)
@given(st.lists(PATHS, min_size=1, max_size=20))
def test_a_shell_gets_the_path(paths: list[str]) -> None:
    words = [shell_word(path) for path in paths]
    assert all(on_one_line(word) == word for word in words)
    script = f"printf '%s\\0' {' '.join(words)}"
    output = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    expected = [f"./{path}" if path.startswith("-") else path for path in paths]
    assert output.split(b"\0")[:-1] == [os.fsencode(path) for path in expected]


PROGRAM = """
import logging
import sys

from cnn.errors import report_errors

bad = "\\x1b[2J\\x9b1A\\u202eb\\x07\\x08"
with report_errors():
    print(bad)
    logging.getLogger("cnn").warning(bad)
    for _ in range(4):
        sys.stdout.write(f"\\r{bad}:   0%")
    raise ValueError(bad)
"""


def test_nothing_that_a_program_prints_drives_the_terminal() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=False, cwd=ROOT)
    escaped = "\\x1b[2J\\x9b1A\\u202eb\\x07\\x08"
    for output, times in ((ended.stdout.decode(), 5), (ended.stderr.decode(), 2)):
        assert output.count(escaped) >= times
        assert not DRIVING & {unicodedata.category(letter) for letter in set(output) - set("\n\t\r")}
        assert "\u202e" not in output
    assert f"\r{escaped}:   0%" in ended.stdout.decode()  # the bar's own
    assert ended.stderr.decode().endswith(f"ValueError: {escaped}\n")
