"""Names that are not ours, as people and shells get them."""

import os
import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from cnn.errors import RunError, UserError
from cnn.shown_text import on_one_line, shell_word

# Those that file systems allow, among them bytes that are no UTF-8.
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from(
    "\udcc3\udcff\n'\"\\$`-\x1b "
)
PATHS = st.text(LETTERS, max_size=12) | st.text(LETTERS, max_size=12).map("-{}".format)


@given(PATHS)
def test_any_text_is_shown_on_one_line_and_can_be_printed(path: str) -> None:
    shown = on_one_line(path)
    assert shown.encode().decode() == shown
    assert len(shown.splitlines()) <= 1
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
