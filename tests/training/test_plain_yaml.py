"""YAML that is data and no more."""

import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.training.plain_yaml import dump_yaml, load_yaml
from tests.hostile import DEEP, JSON, LAUGHS, MERGES, altered, examples

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
        ("a: !!python/object/apply:os.getpid []", "could not determine a constructor"),
        ("a: !!bool x", "a value is not what its tag says"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        load_yaml(text)
    assert "\n" not in str(caught.value)


def test_aliases_and_merges_may_be_used() -> None:
    text = "base: &base {a: 1e-3, b: [x]}\nother: {<<: *base, b: 2026-05-04}\nlists: [*base, *base]"
    base = {"a": 0.001, "b": ["x"]}
    assert load_yaml(text) == {"base": base, "other": {"a": 0.001, "b": "2026-05-04"}, "lists": [base, base]}


@examples(300)
@given(TEXTS | TAGS | st.lists(TAGS, max_size=3).map("\n".join) | altered(LAUGHS[:80].encode()).map(os.fsdecode))
def test_any_text_is_what_json_could_say_or_an_error(text: str) -> None:
    try:
        content = load_yaml(text)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        json.dumps(content)


@examples(200)
@given(JSON.filter(lambda value: "\\u0000" not in json.dumps(value)) | TEXTS | st.floats(allow_nan=False))
def test_what_is_written_is_read(value: Any) -> None:
    assert repr(load_yaml(dump_yaml({"a": value}))) == repr({"a": value})
