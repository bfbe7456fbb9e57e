"""YAML that is data and no more."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.settings.plain_yaml import dump_yaml, load_yaml, read_yaml
from tests.hostile import DEEP, LAUGHS, MERGES, altered, examples

TEXTS = st.text(st.sampled_from("[]{}:,-?!&*'\"|>%@#=~\\<. \n\tab01e"), max_size=40)
TAGS = st.builds(
    "{}!!{} {}".format,
    st.sampled_from(["", "a: ", "- ", "? "]),
    st.sampled_from(
        ["int", "float", "bool", "null", "str", "seq", "map", "set", "omap", "pairs", "binary", "timestamp"]
    ),
    st.sampled_from(
        ["x", "''", "[a]", "{a: b}", "1:60", "0x", "2024-13-99", "aGk=", "~", "+", "0001-01-01 00:00:00 +25"]
    ),
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "too large"),
        (MERGES, "too large"),
        (DEEP.decode(), "too deeply"),
        ("a: &a {b: *a}", "refers to itself"),
        ("a: *b", "undefined alias"),
        ("a: " + "x" * 3501, "a value of more than 3,500 characters"),
        ("a: 0x" + "f" * 3499, "a value of more than 3,500 characters"),
        ('a: "\\0"', "zero byte"),
        ('a: "\\ud800"', "surrogates not allowed"),
        ("a: !!python/object/apply:os.getpid []", "line 1 has the tag !!python"),
        ("b: 1\na: !!bool x", "line 2 has the tag !!bool"),
        ("a: 1\nb: 2\n'a': 3", "line 3: a is already in line 1"),
        ("a: 1\nb: {c: 2, d: 3,\n c: 4}", "line 3: c is already in line 2"),
        ("<<: {a: 1}\n<<: {a: 2}", "line 2: << is already in line 1"),
        ("a: 1\n<<: 3", "line 2: the value of << is not a group"),
        ("? [a]\n: 3", "line 1: a list or a group is in the place of a name"),
        ("a: 1\n\tb: 2", "line 2: .*; use spaces instead of tabs"),
        ("a: 1\nb=2\nc: 3", "line 3: .*; write one setting per line"),
        ("a: 1\n---\nb: 2", "line 2: expected a single document in the stream, but found another"),
        ("a: \u201cb\u201d", "line 1: .* begins with a quotation mark that YAML does not know"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        load_yaml(text)
    assert "\n" not in str(caught.value)


def test_aliases_and_merges_may_be_used() -> None:
    text = "base: &base {a: 1e-3, b: [x]}\nother: {<<: *base, b: 2026-05-04}\nlists: [*base, *base]"
    base = {"a": "1e-3", "b": ["x"]}
    assert load_yaml(text) == {"base": base, "other": {"a": "1e-3", "b": "2026-05-04"}, "lists": [base, base]}


@examples(300)
@given(TEXTS | TAGS | st.lists(TAGS, max_size=3).map("\n".join) | altered(LAUGHS[:80].encode()).map(os.fsdecode))
def test_any_text_is_what_json_could_say_or_an_error(text: str) -> None:
    try:
        content = load_yaml(text)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        json.dumps(content)


@pytest.mark.parametrize(
    "text", ["010", "1:30", "1_000", "0x1f", "yes", "off", "2026-05-04", "1e3", ".inf", "true", "=", "12e03", "~"]
)
def test_a_value_is_the_text_that_stands_there(text: str) -> None:
    assert load_yaml(f"%YAML 1.1\n---\na: {text}\n{text}: [{text}, '{text}']") == {"a": text, text: [text, text]}


def test_no_value_is_what_nothing_and_null_without_quotation_marks_say() -> None:
    assert load_yaml("[null, Null, NULL, '', 'null', \"NULL\", nULL]") == [None, None, None, "", "null", "NULL", "nULL"]
    assert load_yaml("a:\nb: 1") == {"a": None, "b": "1"}


def test_texts_know_their_lines() -> None:
    content = load_yaml("a: 1\r\nb:\r\n- x\r\n- y\rc: 2")
    assert [name.line for name in content] == [1, 2, 5]
    assert [each.line for each in content["b"]] == [3, 4]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_files_of_other_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a").write_text("a: caf\u00e9\nb: 3\n", encoding)
    assert read_yaml(tmp_path / "a") == {"a": "caf\u00e9", "b": "3"}


def test_files_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "a"
    for content, said in (
        ("b: 3\na: caf\u00e9".encode("latin-1"), "line 2 is not text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "not text"),
        (bytes(100), "line 1 has a character that is not text"),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            read_yaml(file)
    os.truncate(file, 10**9)
    with pytest.raises(ValueError, match="more than 1,000,000 bytes"):
        read_yaml(file)
    with pytest.raises(ValueError, match="it is a folder"):
        read_yaml(tmp_path)


@examples(200)
@given(TEXTS | st.text().filter(lambda text: "\0" not in text and text.isascii()))
def test_what_is_written_is_read(text: str) -> None:
    assert load_yaml(dump_yaml({"a": text, "b": [text], "c": None})) == {"a": text, "b": [text], "c": None}
