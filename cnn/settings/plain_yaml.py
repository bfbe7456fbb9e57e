"""YAML of settings, which is not trusted: it is texts in lists and groups and no more, and what is small stays small.

YAML guesses from a text what kind of value it is: 010 is 8 and 1:30 is 90 to it. Here a value is the text that stands
in the file, and whoever reads it decides by what is set.
"""

import json
import os
from pathlib import Path
from typing import Any

import yaml

_DEEPEST = 30
"""Collections in each other. Parsers in C end the process where there are very many."""

_MAX_NODES = 100_000
"""Counted as often as aliases repeat them."""

_LONGEST = 3500
"""Characters of a value."""

_LARGEST = 1_000_000
"""Bytes of a file."""

NULLS = ("null", "Null", "NULL")
"""Texts that stand for no value, unless they are in quotation marks."""

_CURLY = "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb"
"""Quotation marks of word processors."""

_MERGE = "<<"
_STANDARD = "tag:yaml.org,2002:"


class Written(str):
    """A text of a file, which knows its line."""

    __slots__ = ("line",)
    line: int

    def __new__(cls, text: str, line: int) -> "Written":
        written = super().__new__(cls, text)
        written.line = line
        return written


def read_yaml(path: Path) -> Any:
    """What a file says, as `load_yaml`; it may be in UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: it cannot be read; says why, on one line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(str(error.strerror)) from error
    if len(content) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST:,} bytes, which no settings need")
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not text in UTF-8: let your editor save it so") from error
    return load_yaml(text)


def load_yaml(text: str) -> Any:
    """What a text says in YAML: `Written` texts, None, lists and dicts of these; no text in it cannot be a path.

    Raises:
        ValueError: it is no such YAML; says why, on one line.
    """
    try:
        _check(text)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(f"{error.problem}".split())
        if problem.startswith("but "):
            problem = f"{error.context}, {problem}"
        raise ValueError(f"line {mark.line + 1 if mark else 1}: {problem}{_advice(problem)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"line {line} has a character that is not text") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    return None if node is None else _content(node)


def dump_yaml(values: Any) -> str:
    """As `load_yaml` reads it."""
    return yaml.safe_dump(values, sort_keys=False)


def _advice(problem: str) -> str:
    if "\\t" in problem:
        return "; put spaces in the place of tabs"
    return "; write one setting on a line, name, colon, space and value, and a text with signs in it in quotation marks"


def _line(found: yaml.Node | yaml.Event) -> int:
    mark = found.start_mark
    return 1 if mark is None else mark.line + 1


def _content(node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_content(each) for each in node.value]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node)
    if getattr(node, "style", None) is None:
        if node.value in ("", *NULLS):
            return None
        if node.value[0] in _CURLY:
            raise ValueError(f"line {_line(node)}: {node.value} begins with a quotation mark that YAML does not know")
    return Written(node.value, _line(node))


def _mapping(node: yaml.MappingNode) -> dict[str, Any]:
    """Names and values; those that `<<` takes over stand first, and what stands here itself wins."""
    own: dict[str, tuple[Written, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ValueError(f"line {_line(key)}: a list or a group stands where a name should")
        if key.value in own:
            first = own[key.value][0].line
            raise ValueError(f"line {_line(key)}: {key.value} stands in line {first} already; leave one out")
        own[key.value] = (Written(key.value, _line(key)), value)
    _, merged = own.pop(_MERGE, (None, None))
    taken = {} if merged is None else _merged(merged)
    names = {name: value for name, value in taken.items() if name not in own}
    return names | {name: _content(value) for name, value in own.values()}


def _merged(node: yaml.Node) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        if not isinstance(each, yaml.MappingNode):
            raise ValueError(f"line {_line(each)}: what {_MERGE} takes over is not a group of settings")
        taken = _mapping(each) | taken
    return taken


def _check(text: str) -> None:
    """Raises ValueError for what is too deep, too large with all its aliases, or too long, and for tags."""
    nodes: list[int] = [0]
    """Of each collection that is open, and of the whole text."""
    names: list[str | None] = []
    known: dict[str, int] = {}
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ValueError(f"line {_line(event)} has the tag {tag.replace(_STANDARD, '!!')}; leave it out")
        if isinstance(event, yaml.CollectionStartEvent):
            names.append(event.anchor)
            nodes.append(1)
            name, size = None, 0
        elif isinstance(event, yaml.CollectionEndEvent):
            name, size = names.pop(), nodes.pop()
        elif isinstance(event, yaml.ScalarEvent):
            _check_value(event)
            name, size = event.anchor, 1
        elif isinstance(event, yaml.AliasEvent):
            name, size = None, _MAX_NODES if event.anchor in names else known.get(str(event.anchor), 1)
        else:
            continue
        nodes[-1] += size
        if name is not None:
            known[name] = size
        if len(nodes) > _DEEPEST or nodes[-1] >= _MAX_NODES:
            raise ValueError("it is nested too deeply, or too large, or refers to itself")


def _check_value(event: yaml.ScalarEvent) -> None:
    if len(event.value) > _LONGEST:
        raise ValueError(f"line {_line(event)} has a value of more than {_LONGEST:,} characters")
    try:
        os.fsencode(event.value)
    except UnicodeEncodeError as error:
        raise ValueError(f"line {_line(event)} has half a character: {error.reason}") from error
    if "\0" in event.value:
        raise ValueError(f"line {_line(event)} has a value with a zero byte")
