"""Which folders of a data set are its parts, to train, to validate and to test with, and which are classes."""

import re
from collections.abc import Iterable
from pathlib import Path

from cnn.data.listing import folder_names, shown
from cnn.errors import UserError

TRAIN, VALIDATION, TEST = "training", "validation", "test"

_PARTS = (TRAIN, VALIDATION, TEST)
_WORD = "(train(?:ing|val)?)|(val(?:id(?:ation)?)?|dev)|(test(?:ing)?|eval(?:uation)?)"
_NAME = re.compile(rf"(?:{_WORD})(?:set|data|dataset|split|images?|imgs?)?\d*")
_WORDS = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def find_parts(folder: Path, names: list[str]) -> dict[str, str]:
    """The names of the folders that are parts, by the part; empty if the folders are the classes.

    Folders are parts if they have the usual names of a training part and of another, and hold folders. Other words in
    the names, as in `seg_train` and `seg_test`, make no difference if all of these hold folders or there are no others.

    Args:
        folder: holds them.
        names: of all folders in it.

    Raises:
        UserError: they are parts, but not as they must be, or they may be parts or classes.
    """
    named = {name: part for name in names if (part := _part(name)) is not None}
    divided = [name for name in names if _part_in(name) is not None and folder_names(folder / name)]
    if not _is_a_division(named.values()):
        like = {name: part for name in names if (part := _part_in(name)) is not None}
        if _is_a_division(like.values()) and (len(like) == len(names) or len(like) == len(divided)):
            named = like
    divided = [name for name in divided if name in named]
    if _is_a_division(named.values()):
        _check_parts(folder, named, divided)
        return {part: name for part in _PARTS for name in named if named[name] == part}
    if divided:
        raise _incomplete(folder, divided[0], named[divided[0]])
    if len(named) == len(names) > 1:
        raise _undivided(folder, [*named])
    return {}


def named_parts(names: list[str]) -> list[str]:
    """Those that are usual names of parts."""
    return [name for name in names if _part(name) is not None]


def divided_again(names: set[str]) -> bool:
    """Whether among the names of folders are those of a training part and of another."""
    return _is_a_division(map(_part, names))


def _is_a_division(parts: Iterable[str | None]) -> bool:
    present = {*parts} - {None}
    return TRAIN in present and len(present) > 1


def _part(name: str) -> str | None:
    """The part of this usual name, in any case, with any punctuation and with or without a number."""
    match = _NAME.fullmatch("".join(filter(str.isalnum, name)).lower())
    return None if match is None else _PARTS[(match.lastindex or 1) - 1]


def _part_in(name: str) -> str | None:
    """The part that the name, or a word in it, tells of."""
    parts = [_part(name), *map(_part, _WORDS.findall(name))]
    return next((part for part in parts if part is not None), None)


def _check_parts(folder: Path, named: dict[str, str], divided: list[str]) -> None:
    undivided = [name for name in named if name not in divided]
    if undivided:
        raise _undivided(folder, undivided)
    for name, part in named.items():
        other = next(other for other, same in named.items() if same == part)
        if other != name:
            raise UserError(
                f"'{shown(other)}' and '{shown(name)}' in {folder} are both the {part} part by their names: put their "
                f"class folders into one of them, or move one out of {folder}."
            )


def _undivided(folder: Path, names: list[str]) -> UserError:
    listed = ", ".join(f"'{shown(name)}'" for name in names)
    return UserError(
        f"folders in {folder} have the names of parts of a data set but hold no class folders, {listed}: put a folder "
        "for each class into each of them, or move them elsewhere; or if they are classes, rename them."
    )


def _incomplete(folder: Path, name: str, part: str) -> UserError:
    if part == TRAIN:
        mend = (
            f"no 'test' beside it: add it, or name {shown(str(folder / name))} to have a fifth of the images there "
            "kept for the test"
        )
    else:
        mend = "no 'train' beside it: put the folders of the classes to train on into a folder 'train' there"
    return UserError(
        f"{folder} has a folder '{shown(name)}' of class folders but {mend}; or if it is a class, rename it."
    )
