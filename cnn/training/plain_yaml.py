"""YAML of settings, which is not trusted: it is data and no more, and what is small stays small."""

import os
import re
from typing import Any

import yaml

_DEEPEST = 30
"""Collections in each other. Parsers in C end the process where there are very many."""

_MOST_NODES = 100_000
"""Counted as often as aliases repeat them."""

_LONGEST = 3500
"""Characters of a value: Python refuses to print a number that has more in base 16."""

_PREFIX = "tag:yaml.org,2002:"
_TAGS = {None, *(_PREFIX + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map"))}
"""What JSON knows too. None stands for those that are refused by name."""

_EXPONENT = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+\Z")


class _Loader(yaml.SafeLoader):
    """Knows 1e-3 as a number, which YAML 1.1 does not, and no times: a folder may be called 2026-05-04."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's name
        first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_PREFIX}timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012  # likewise
        tag: construct for tag, construct in yaml.SafeLoader.yaml_constructors.items() if tag in _TAGS
    }


class _Dumper(yaml.SafeDumper):
    """Quotes the text 1e-3, for the loader knows it as a number."""


for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver(f"{_PREFIX}float", _EXPONENT, list("-+0123456789."))


def load_yaml(text: str) -> Any:
    """What a text says in YAML, as JSON could say it too; no text in it is one that cannot be a path.

    Raises:
        ValueError: it is no such YAML; says why, on one line.
    """
    try:
        _check(text)
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split()).rstrip(".")) from error
    except Exception as error:  # PyYAML has no common class for what it makes of a tag with a value of another kind
        raise ValueError(f"a value is not what its tag says, {type(error).__name__}") from error


def dump_yaml(values: Any) -> str:
    """As `load_yaml` reads it."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)


def _check(text: str) -> None:
    """Raises ValueError for what is too deep, too large with all its aliases, or too long."""
    nodes: list[int] = [0]
    """Of each collection that is open, and of the whole text."""
    names: list[str | None] = []
    known: dict[str, int] = {}
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            names.append(event.anchor)
            nodes.append(1)
            name, size = None, 0
        elif isinstance(event, yaml.CollectionEndEvent):
            name, size = names.pop(), nodes.pop()
        elif isinstance(event, yaml.ScalarEvent):
            _check_value(event.value)
            name, size = event.anchor, 1
        elif isinstance(event, yaml.AliasEvent):
            name, size = None, _MOST_NODES if event.anchor in names else known.get(str(event.anchor), 1)
        else:
            continue
        nodes[-1] += size
        if name is not None:
            known[name] = size
        if len(nodes) > _DEEPEST or nodes[-1] >= _MOST_NODES:
            raise ValueError("it is nested too deeply, or too large, or refers to itself")


def _check_value(value: str) -> None:
    if len(value) > _LONGEST:
        raise ValueError(f"it has a value of more than {_LONGEST:,} characters")
    os.fsencode(value)
    if "\0" in value:
        raise ValueError("it has a value with a zero byte")
