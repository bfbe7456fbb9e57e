"""Settings in untrusted YAML: only strings, lists and mappings, and small files stay small in memory.

YAML guesses a value's type from its text: it reads 010 as 8 and 1:30 as 90. Here a value is the text in the file, and
the setting's type decides its meaning.
"""

import json
import os
from pathlib import Path
from typing import Any

import yaml

_MAX_DEPTH = 30
"""Levels of nested collections. Parsers in C crash the process when there are very many."""

_MAX_NODES = 100_000
"""Maximum number of values and collections, counted as often as aliases repeat them."""

_MAX_CHARACTERS = 3500
"""Maximum length of a value."""

_MAX_BYTES = 1_000_000
"""Maximum size of a file."""

NULLS = ("null", "Null", "NULL")
"""Texts that mean no value, unless they are quoted."""

_CURLY = "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb"
"""Quotation marks of word processors."""

_MERGE = "<<"
_STANDARD = "tag:yaml.org,2002:"


class Written(str):
    """A text of a file, with its line number."""

    __slots__ = ("line",)
    line: int

    def __new__(cls, text: str, line: int) -> "Written":
        written = super().__new__(cls, text)
        written.line = line
        return written


def read_yaml(path: Path) -> Any:
    """Reads a file in UTF-8, UTF-16 or UTF-32 like `load_yaml`.

    Raises:
        ValueError: it cannot be read; the message is one line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ValueError("it is a folder" if path.is_dir() else str(error.strerror)) from error
    if len(content) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES:,} bytes, which no settings need")
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not text in UTF-8: save the file as UTF-8") from error
    return load_yaml(text)


def load_yaml(text: str) -> Any:
    """Reads YAML as `Written` texts, None, and lists and dicts of these; every text can be a path.

    Raises:
        ValueError: it is not such YAML; the message is one line.
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
    """YAML that `load_yaml` reads."""
    return yaml.safe_dump(values, sort_keys=False)


def _advice(problem: str) -> str:
    if "\\t" in problem:
        return "; use spaces instead of tabs"
    return "; write one setting per line (name, colon, space, value), and quote values that contain special characters"


def _line(item: yaml.Node | yaml.Event) -> int:
    mark = item.start_mark
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
    """Names and values; those merged by `<<` come first, and are overridden by those of the mapping itself."""
    direct: dict[str, tuple[Written, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ValueError(f"line {_line(key)}: a list or a group is in the place of a name")
        if key.value in direct:
            first = direct[key.value][0].line
            raise ValueError(f"line {_line(key)}: {key.value} is already in line {first}; remove one of them")
        direct[key.value] = (Written(key.value, _line(key)), value)
    _, merged = direct.pop(_MERGE, (None, None))
    inherited = {} if merged is None else _merged(merged)
    remaining = {name: value for name, value in inherited.items() if name not in direct}
    return remaining | {name: _content(value) for name, value in direct.values()}


def _merged(node: yaml.Node) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        if not isinstance(each, yaml.MappingNode):
            raise ValueError(f"line {_line(each)}: the value of {_MERGE} is not a group of settings")
        values = _mapping(each) | values
    return values


def _check(text: str) -> None:
    """Raises ValueError for tags, and for text that is too deeply nested, or too large with its aliases expanded."""
    sizes: list[int] = [0]
    """Numbers of nodes: of the complete text, and of each open collection."""
    anchors: list[str | None] = []
    known: dict[str, int] = {}
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ValueError(f"line {_line(event)} has the tag {tag.replace(_STANDARD, '!!')}; leave it out")
        if isinstance(event, yaml.CollectionStartEvent):
            anchors.append(event.anchor)
            sizes.append(1)
            anchor, size = None, 0
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = anchors.pop(), sizes.pop()
        elif isinstance(event, yaml.ScalarEvent):
            _check_value(event)
            anchor, size = event.anchor, 1
        elif isinstance(event, yaml.AliasEvent):
            anchor, size = None, _MAX_NODES if event.anchor in anchors else known.get(str(event.anchor), 1)
        else:
            continue
        sizes[-1] += size
        if anchor is not None:
            known[anchor] = size
        if len(sizes) > _MAX_DEPTH or sizes[-1] >= _MAX_NODES:
            raise ValueError("it is nested too deeply, or too large, or refers to itself")


def _check_value(event: yaml.ScalarEvent) -> None:
    if len(event.value) > _MAX_CHARACTERS:
        raise ValueError(f"line {_line(event)} has a value of more than {_MAX_CHARACTERS:,} characters")
    try:
        os.fsencode(event.value)
    except UnicodeEncodeError as error:
        raise ValueError(f"line {_line(event)} has an incomplete character: {error.reason}") from error
    if "\0" in event.value:
        raise ValueError(f"line {_line(event)} has a value with a zero byte")
