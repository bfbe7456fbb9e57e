"""Pickles as Python 2 and its NumPy have written the official batches, byte for byte but for the memory's places."""

import struct
from collections.abc import Callable, Sequence

import numpy as np


def _text(text: str | bytes) -> bytes:
    content = text.encode() if isinstance(text, str) else text
    short = len(content) < 256
    return (b"U" + bytes([len(content)]) if short else b"T" + struct.pack("<i", len(content))) + content


def _integer(number: int) -> bytes:
    if 0 <= number < 256:
        return b"K" + bytes([number])
    return b"M" + struct.pack("<H", number) if 0 <= number < 65536 else b"J" + struct.pack("<i", number)


def _list(values: Sequence[object], one: Callable[..., bytes]) -> bytes:
    return b"](" + b"".join(one(value) for value in values) + b"e"


def _array(array: np.ndarray) -> bytes:
    dtype = b"cnumpy\ndtype\n" + _text("u1") + _integer(0) + _integer(1) + b"\x87R"
    dtype += b"(" + _integer(3) + _text("|") + b"NNN" + _integer(-1) + _integer(-1) + _integer(0) + b"tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + _integer(0) + b"\x85" + _text("b") + b"\x87R"
    shape = b"".join(map(_integer, array.shape)) + b"\x86"
    return made + b"(" + _integer(1) + shape + dtype + b"\x89" + _text(array.tobytes()) + b"tb"


def python2(values: dict[str, object]) -> bytes:
    """A dictionary of arrays of bytes, of numbers and of texts; protocol 2."""
    items = b""
    for place, (key, value) in enumerate(values.items()):
        items += _text(key) + b"q" + bytes([place])
        if isinstance(value, np.ndarray):
            items += _array(value)
        elif isinstance(value, str):
            items += _text(value)
        else:
            assert isinstance(value, list)
            items += _list(value, _text if isinstance(value[0], str) else _integer)
    return b"\x80\x02}(" + items + b"u."
