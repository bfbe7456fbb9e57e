"""What files hold that nobody meant them to hold, for tests of what reads them."""

import itertools
import json
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from cnn.errors import RunError

Result = TypeVar("Result")

DEEP = b"[" * 5000
"""More lists in each other than Python may have calls; very many more would end the process where this is not seen."""

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([-1, 2**63, 10**400])
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)

_NAMES = "abcdef"
_PAIRS = list(itertools.pairwise(_NAMES))
LAUGHS = "\n".join(["a: &a [x]", *(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in _PAIRS)])
MERGES = "\n".join(
    ["a: &a {x: 1}", *(f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}]}}" for before, name in _PAIRS)]
)
"""Six lines that are a hundred thousand."""

YAML = [
    DEEP.decode() + "]" * len(DEEP),
    "model: " + DEEP.decode(),
    "- " * 5000,
    LAUGHS,
    MERGES,
    "model: &a [*a]",
    "&a {model: *a}",
    "model: *nothing",
    "model: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [pwned]]",
    "!!python/object/new:os.system [touch pwned]",
    "model: !!python/name:os.system",
    "model: !!int x",
    "model: !!bool x",
    "model: !!float x",
    "model: !!timestamp x",
    "model: !!timestamp 2024-13-99",
    "model: !!null x",
    "? !!binary aGk=\n: 1",
    "model: {? !!set {a} : b}",
    "? [model]\n: fcnn",
    "seed: " + "9" * 5000,
    "seed: 0x" + "f" * 5000,
    'seed: "0x' + "f" * 5000 + '"',
    "epochs: 1e999",
    'run_dir: "a\\0b"',
    'data_dir: "\\ud800"',
    "model:",
    "epochs: null",
    "1: 2",
    "null: 2",
    "'': 2",
    "model.model: fcnn",
    "%YAML 9.9\n---\nmodel: fcnn",
    "model: fcnn\n---\nmodel: fcnn",
    "model: =",
]
"""What no program may do as it says. It is refused wherever settings are read."""


def examples(count: int) -> settings:
    """So many, each of which may write over what the one before has left in a fixture's folder."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def altered(draw: st.DrawFn, whole: bytes) -> bytes:
    """Content with a few bytes changed, taken out or put in, or cut off; now and then something else altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=100) | st.just(DEEP))
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        taken = draw(st.sampled_from([0, 1, 1, 1, 4, len(content)]))
        content[place : place + taken] = draw(st.binary(max_size=8))
    return bytes(content)


@st.composite
def altered_json(draw: st.DrawFn, whole: Any) -> Any:
    """What JSON can hold, in which a value, somewhere, is another one or is missing, or there is one more."""
    values = json.loads(json.dumps(whole))
    inside = values
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        key = draw(st.sampled_from([*keys, "new"] if isinstance(inside, dict) else keys))
        deeper = inside[key] if key in keys else None
        if not (isinstance(deeper, dict | list) and deeper and draw(st.booleans())):
            break
        inside = deeper
    if key in keys and draw(st.booleans()):
        del inside[key]
    else:
        inside[key] = draw(JSON)
    return values


def read_or_sentence(read: Callable[[], Result], named: str, refusals: type[RunError] = RunError) -> Result | None:
    """What is read; None when it is refused in one sentence that names it. Other errors are the test's failure."""
    try:
        return read()
    except refusals as error:
        text = str(error)
        assert named in text
        assert len(text.splitlines()) == 1
        assert text.endswith((".", "?"))
        return None
