"""Reading pickled lists, dictionaries and arrays without running anything that a pickle can name.

`pickle` calls whatever a file tells it to. Here its instructions are followed by a machine of our own, which puts
values into lists, dictionaries and NumPy arrays of whole numbers, and can do nothing else.
"""

import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

# Instructions; the largest file of CIFAR has a tenth of them. It bounds the memory that they can ask for.
_MOST = 5_000_000

_MARK = object()

_NAMES = re.compile(
    r"numpy\.(ndarray|dtype)|numpy\.(_core|core)\.(multiarray\._reconstruct|numeric\._frombuffer)|_codecs\.encode"
)
"""What NumPy and Python 3 have called for an array, and for bytes."""


class RefusedPickleError(Exception):
    """A pickle is damaged, or holds what is not plain; the text says what, as "it holds ..."."""


def read_plain_pickle(content: bytes) -> dict[str, Any]:
    """Gives the dictionary that is pickled: its values are text, bytes, numbers, lists, tuples, dictionaries or arrays.

    Python 2 has no bytes: of what it wrote, each byte is the character of its number.

    Raises:
        RefusedPickleError: it is damaged, or holds anything else.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count > _MOST:
                raise RefusedPickleError(f"it holds more than {_MOST:,} instructions")
            step = _STEPS.get(opcode.name)
            if step is None:
                raise RefusedPickleError(f"it holds the instruction {opcode.name}, which plain data do without")
            step(machine, argument)
        (value,) = machine.stack
        if not isinstance(value, dict):
            raise RefusedPickleError("it holds something else than a dictionary")
        return {_text(key): each.content if isinstance(each, _Array) else each for key, each in value.items()}
    except RefusedPickleError:
        raise
    except Exception as error:  # whatever other bytes lead to, in pickletools as well
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RefusedPickleError(f"it cannot be unpickled ({reason[:200]})") from error


class _Name:
    """What a pickle names to have it called."""

    def __init__(self, module: object, name: object) -> None:
        self.text = f"{module}.{name}"
        if not _NAMES.fullmatch(self.text):
            raise RefusedPickleError(f"it names {self.text[:200]!r}, which plain data do without")


class _Array:
    """An array whose content follows."""

    content: np.ndarray | None = None


class _Machine:
    """The stack and the memory that instructions work on."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def pop_to_mark(self) -> list[Any]:
        """All that was put there since the last mark."""
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def pop_some(self, count: int) -> list[Any]:
        """The last values."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def add_items(self, pairs: list[Any]) -> None:
        """Puts keys and values, in turn, into the dictionary that is last."""
        target, keys = self.stack[-1], pairs[::2]
        if not isinstance(target, dict) or not all(isinstance(key, str | bytes) for key in keys):
            raise RefusedPickleError("it holds keys that are not text")
        target.update(zip(keys, pairs[1::2], strict=True))

    def new_dictionary(self) -> None:
        """Makes a dictionary of all that was put there since the last mark."""
        pairs = self.pop_to_mark()
        self.stack.append({})
        self.add_items(pairs)

    def extend(self, values: list[Any]) -> None:
        """Puts values into the list that is last."""
        target = self.stack[-1]
        if not isinstance(target, list):
            raise RefusedPickleError("it appends to what is not a list")
        target += values

    def remember(self, place: int) -> None:
        """Keeps the last value for `recall`."""
        if not 0 <= place <= _MOST:
            raise RefusedPickleError("it remembers more than plain data need")
        self.memory[place] = self.stack[-1]

    def recall(self, place: int) -> None:
        """Puts there again what was kept."""
        self.stack.append(self.memory[place])

    def call(self) -> None:
        """Does what is known of the function that is last but one."""
        called, arguments = self.pop_some(2)
        self.stack.append(_CALLS[called.text.rpartition(".")[2]](*arguments))

    def build(self) -> None:
        """Gives its content to an array; of a dtype that is there already only the order of bytes is looked at."""
        state, built = self.stack.pop(), self.stack[-1]
        if isinstance(built, _Array):
            _, shape, dtype, by_columns, values = state
            built.content = _content(values, dtype, shape, "F" if by_columns else "C")
        elif not isinstance(built, np.dtype) or _text(state[1]) == ">":
            raise RefusedPickleError("it holds an object that is not plain, or numbers of another order of bytes")


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _dtype(code: str | bytes, *_: object) -> "np.dtype[Any]":
    if not re.fullmatch("[iu][1248]", _text(code)):
        raise RefusedPickleError(f"it holds an array of {_text(code)[:20]!r}, not of whole numbers")
    return np.dtype(_text(code))


def _content(values: Any, dtype: "np.dtype[Any]", shape: tuple[int, ...], order: Any) -> np.ndarray:
    if not isinstance(dtype, np.dtype):
        raise RefusedPickleError("it holds an array of no known type")
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

_STEPS: dict[str, Callable[[_Machine, Any], object]] = {
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
    "TUPLE1": lambda machine, _: machine.stack.append(tuple(machine.pop_some(1))),
    "TUPLE2": lambda machine, _: machine.stack.append(tuple(machine.pop_some(2))),
    "TUPLE3": lambda machine, _: machine.stack.append(tuple(machine.pop_some(3))),
    "DICT": lambda machine, _: machine.new_dictionary(),
    "APPEND": lambda machine, _: machine.extend(machine.pop_some(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.add_items(machine.pop_some(2)),
    "SETITEMS": lambda machine, _: machine.add_items(machine.pop_to_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, place: machine.remember(place)),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memory)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, place: machine.recall(place)),
    "GLOBAL": lambda machine, argument: machine.stack.append(_Name(*argument.split(" "))),
    "STACK_GLOBAL": lambda machine, _: machine.stack.append(_Name(*machine.pop_some(2))),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
}
