"""Reads pickled lists, dictionaries and arrays without calling anything that a pickle names.

`pickle` calls any function that a file names. The interpreter here follows the same instructions, but can only put
values into lists, dictionaries and NumPy arrays of integers.
"""

import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

# The largest file of CIFAR has a tenth as many. It bounds the memory that instructions can allocate.
_MAX_INSTRUCTIONS = 5_000_000

_MARK = object()

_NAMES = re.compile(
    r"numpy\.(ndarray|dtype)|numpy\.(_core|core)\.(multiarray\._reconstruct|numeric\._frombuffer)|_codecs\.encode"
)
"""The functions that NumPy and Python 3 name in pickles of arrays and of bytes."""


class RefusedPickleError(Exception):
    """A pickle is damaged or holds other objects than plain data; the text says which, as "it holds ..."."""


def read_plain_pickle(content: bytes) -> dict[str, Any]:
    """Returns the pickled dictionary: its values are text, bytes, numbers, lists, tuples, dictionaries or arrays.

    The byte strings of Python 2 become text, each byte the character with that code point (Latin-1).

    Raises:
        RefusedPickleError: the pickle is damaged, or holds anything else.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count > _MAX_INSTRUCTIONS:
                raise RefusedPickleError(f"it holds more than {_MAX_INSTRUCTIONS:,} instructions")
            execute = _INSTRUCTIONS.get(opcode.name)
            if execute is None:
                raise RefusedPickleError(f"it holds the instruction {opcode.name}, which plain data do not need")
            execute(machine, argument)
        (value,) = machine.stack
        if not isinstance(value, dict):
            raise RefusedPickleError("it does not hold a dictionary")
        return {_text(key): each.content if isinstance(each, _Array) else each for key, each in value.items()}
    except RefusedPickleError:
        raise
    except Exception as error:  # any error that damaged content raises, in pickletools as well
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RefusedPickleError(f"it cannot be unpickled ({reason[:200]})") from error


class _Name:
    """A function that a pickle names in order to call it."""

    def __init__(self, module: object, name: object) -> None:
        self.text = f"{module}.{name}"
        if not _NAMES.fullmatch(self.text):
            raise RefusedPickleError(f"it names {self.text[:200]!r}, which plain data do not need")


class _Array:
    """An array whose content a later instruction sets."""

    content: np.ndarray | None = None


class _Machine:
    """The stack and the memo of the pickle protocol."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop_to_mark(self) -> list[Any]:
        """The values pushed since the last mark."""
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def pop_values(self, count: int) -> list[Any]:
        """The last `count` values."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def add_items(self, pairs: list[Any]) -> None:
        """Adds alternating keys and values to the dictionary on top of the stack."""
        target, keys = self.stack[-1], pairs[::2]
        if not isinstance(target, dict) or not all(isinstance(key, str | bytes) for key in keys):
            raise RefusedPickleError("it holds keys that are not text")
        target.update(zip(keys, pairs[1::2], strict=True))

    def new_dictionary(self) -> None:
        """Pushes a dictionary of the values since the last mark."""
        pairs = self.pop_to_mark()
        self.stack.append({})
        self.add_items(pairs)

    def extend(self, values: list[Any]) -> None:
        """Appends values to the list on top of the stack."""
        target = self.stack[-1]
        if not isinstance(target, list):
            raise RefusedPickleError("it appends to an object that is not a list")
        target += values

    def remember(self, place: int) -> None:
        """Stores the value on top of the stack in the memo."""
        if not 0 <= place <= _MAX_INSTRUCTIONS:
            raise RefusedPickleError("its memo is larger than plain data need")
        self.memo[place] = self.stack[-1]

    def recall(self, place: int) -> None:
        """Pushes a value from the memo."""
        self.stack.append(self.memo[place])

    def call(self) -> None:
        """Replaces the top two values, a function's name and arguments, by its result."""
        function, arguments = self.pop_values(2)
        self.stack.append(_CALLS[function.text.rpartition(".")[2]](*arguments))

    def build(self) -> None:
        """Sets an array's content; of a dtype's state only the byte order is checked."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Array):
            _, shape, dtype, by_columns, values = state
            target.content = _content(values, dtype, shape, "F" if by_columns else "C")
        elif not isinstance(target, np.dtype) or _text(state[1]) == ">":
            raise RefusedPickleError("it holds an object that is not plain, or numbers in big-endian byte order")


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _dtype(code: str | bytes, *_: object) -> "np.dtype[Any]":
    if not re.fullmatch("[iu][1248]", _text(code)):
        raise RefusedPickleError(f"it holds an array of {_text(code)[:20]!r}, not of integers")
    return np.dtype(_text(code))


def _content(values: Any, dtype: "np.dtype[Any]", shape: tuple[int, ...], order: Any) -> np.ndarray:
    if not isinstance(dtype, np.dtype):
        raise RefusedPickleError("it holds an array of an unknown type")
    if isinstance(values, str):
        values = values.encode("latin-1")
    array: np.ndarray = np.frombuffer(values, dtype).reshape(shape, order=_text(order))  # type: ignore[call-overload]
    return array


def _from_buffer(values: Any, dtype: "np.dtype[Any]", shape: tuple[int, ...], order: Any) -> _Array:
    array = _Array()
    array.content = _content(values, dtype, shape, order)
    return array


_CALLS: dict[str, Callable[..., Any]] = {
    "_reconstruct": lambda *_: _Array(),
    "dtype": _dtype,
    "_frombuffer": _from_buffer,
    "encode": lambda text, _: text.encode("latin-1"),
}

_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, argument: None),
    **dict.fromkeys(
        (
            *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
            *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
            *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        ),
        lambda machine, argument: machine.stack.append(argument),
    ),
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "LIST": lambda machine, _: machine.stack.append(machine.pop_to_mark()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.stack.append(tuple(machine.pop_values(1))),
    "TUPLE2": lambda machine, _: machine.stack.append(tuple(machine.pop_values(2))),
    "TUPLE3": lambda machine, _: machine.stack.append(tuple(machine.pop_values(3))),
    "DICT": lambda machine, _: machine.new_dictionary(),
    "APPEND": lambda machine, _: machine.extend(machine.pop_values(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.add_items(machine.pop_values(2)),
    "SETITEMS": lambda machine, _: machine.add_items(machine.pop_to_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, place: machine.remember(place)),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, place: machine.recall(place)),
    "GLOBAL": lambda machine, argument: machine.stack.append(_Name(*argument.split(" "))),
    "STACK_GLOBAL": lambda machine, _: machine.stack.append(_Name(*machine.pop_values(2))),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
}
