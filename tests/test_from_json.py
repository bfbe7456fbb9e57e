"""Dataclasses from JSON, or an error that names what is wrong."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.errors import UserError
from cnn.from_json import from_json, parse_json, read_object
from tests.hostile import DEEP, JSON, altered_json


@dataclasses.dataclass
class Inner:
    name: str
    more: int | None = None


@dataclasses.dataclass
class Outer:
    number: float
    pair: tuple[int, str]
    values: tuple[float, ...]
    inner: list[Inner]
    sure: bool
    named: dict[str, Inner]


WHOLE = Outer(
    number=1.0,
    pair=(2, "b"),
    values=(0.5, 1.0),
    inner=[Inner(name="a"), Inner(name="b", more=3)],
    sure=True,
    named={"c": Inner(name="c")},
)


def test_it_comes_back() -> None:
    assert from_json(Outer, json.loads(json.dumps(dataclasses.asdict(WHOLE)))) == WHOLE
    assert from_json(Inner, {"name": "a"}) == Inner(name="a")
    assert isinstance(from_json(Outer, {**dataclasses.asdict(WHOLE), "number": 3}).number, float)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"number": "1"}, "number is of another type"),
        ({"number": True}, "number is of another type"),
        ({"number": 10**400}, "number is of another type"),
        ({"pair": [2**63, "b"]}, "pair is of another type"),
        ({"pair": [2]}, "pair is of another type"),
        ({"pair": [2, 3]}, "pair is of another type"),
        ({"values": [None]}, "values is of another type"),
        ({"inner": [{}]}, "inner has other fields"),
        ({"inner": [{"name": "a", "more": 1.5}]}, "more is of another type"),
        ({"sure": 1}, "sure is of another type"),
        ({"named": []}, "named is of another type"),
        ({"named": {"c": {"name": 3}}}, "name is of another type"),
        ({"named": {"c": 3}}, "named is of another type"),
        ({"new": 1}, "the content has other fields"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_json(Outer, {**dataclasses.asdict(WHOLE), **changed})


@given(altered_json(dataclasses.asdict(WHOLE)) | JSON)
def test_any_value_is_one_or_an_error(value: object) -> None:
    try:
        made = from_json(Outer, value)
    except ValueError:
        return
    assert isinstance(made.number, float)
    assert all(isinstance(each, Inner) for each in made.inner)


@given(st.binary() | st.just(DEEP) | st.just(b"9" * 5000))
def test_any_bytes_are_json_or_an_error(content: bytes) -> None:
    try:
        parse_json(content)
    except ValueError:
        return
    json.loads(content)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", DEEP])
def test_a_file_without_an_object_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match="x.json cannot be read"):
        read_object(tmp_path / "x.json")
    with pytest.raises(UserError, match="none.json cannot be read"):
        read_object(tmp_path / "none.json")
