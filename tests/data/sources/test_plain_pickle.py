import builtins
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from cnn.data.sources.plain_pickle import RefusedPickleError, read_plain_pickle
from tests.hostile import altered, examples

from .pickled import python2

IMAGES = np.arange(6 * 300).astype(np.uint8).reshape(6, 300)
VALUES: dict[str, object] = {
    "data": IMAGES,
    "labels": [0, 1, 2, 3, 4, 5],
    "filenames": ["a.png", "b.png"],
    "batch_label": "testing batch 1 of 1",
}


def _same(values: dict[str, Any]) -> bool:
    return np.array_equal(values["data"], IMAGES) and all(
        values[name] == value for name, value in VALUES.items() if name != "data"
    )


def test_what_python_2_has_written() -> None:
    assert _same(read_plain_pickle(python2(VALUES)))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("keys", [str, bytes])
def test_what_python_3_writes(protocol: int, keys: type) -> None:
    values = {name if keys is str else name.encode(): value for name, value in VALUES.items()}
    assert _same(read_plain_pickle(pickle.dumps(values, protocol)))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_arrays_of_other_whole_numbers_and_orders(protocol: int) -> None:
    array = np.arange(12, dtype=np.int64).reshape(3, 4)
    values = {"rows": array, "columns": np.asfortranarray(array), "list": [(1, 2), None, True, 2**70, -5, 0.5]}
    read = read_plain_pickle(pickle.dumps(values, protocol))
    assert np.array_equal(read["rows"], array)
    assert np.array_equal(read["columns"], array)
    assert read["list"] == values["list"]


class _Calls:
    """What pickle would call."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


EXPLOITS = [
    _Calls(os.system, "touch pwned"),
    _Calls(builtins.eval, "open('pwned', 'w')"),
    _Calls(builtins.exec, "open('pwned', 'w')"),
    _Calls(np.fromfile, "/etc/passwd", np.uint8),
    _Calls(np.load, "/etc/passwd"),
    _Calls(np.save, "pwned.npy", 1),
    _Calls(np.memmap, "pwned", np.uint8, "w+", 0, (9,)),
    _Calls(Path.touch, Path("pwned")),
    OrderedDict(a=1),
    np.array([object()]),
    np.array(["text"]),
    np.float64(1),
    {1, 2},
    _Calls,
]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("exploit", EXPLOITS, ids=lambda exploit: type(exploit).__name__)
def test_nothing_is_called(exploit: object, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps({**VALUES, "labels": exploit}, protocol)
    with pytest.raises(RefusedPickleError) as caught:
        read_plain_pickle(content)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'touch pwned'\ntR.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0btouch pwned\x85R.",
        b"(S'touch pwned'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch pwned'\no.",
        b"\x80\x02cnumpy\nndarray\n)\x81}b.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n}b.",
        b"\x80\x02c_codecs\nencode\n(S'x'\nS'rot13'\nS'strict'\ntR.",
        b"\x82\x01.",
        b"Pos\n.",
        b"}(]]u.",
        b"}]s.",
        b"]]a.",
        b"]}(K\x01K\x02ue.",
        b"\x80\x02}r\xff\xff\xff\x7f.",
        b"\x80\x02}p-1\n.",
        b"",
        b".",
        b"}",
        b"}}.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"I" + b"9" * 5000 + b"\n.",
    ],
)
def test_other_pickles_are_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedPickleError):
        read_plain_pickle(content)
    assert list(tmp_path.iterdir()) == []


def test_very_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn.data.sources.plain_pickle._MAX_INSTRUCTIONS", 1000)
    with pytest.raises(RefusedPickleError, match="it holds more than 1,000 instructions"):
        read_plain_pickle(b"}" * 2000)


@examples(300)
@given(altered(python2(VALUES)) | altered(pickle.dumps(VALUES, 0)) | altered(pickle.dumps(VALUES, 5)))
def test_any_bytes_are_plain_or_refused(content: bytes) -> None:
    try:
        values = read_plain_pickle(content)
    except RefusedPickleError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert all(isinstance(key, str) for key in values)
