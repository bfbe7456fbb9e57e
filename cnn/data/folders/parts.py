"""Tells the folders of a data set's parts (training, validation, test) from those of its classes, by their names."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from cnn.data.folders.listing import folder_names, shown
from cnn.errors import UserError

TRAIN, VALIDATION, TEST = "training", "validation", "test"

_PARTS = (TRAIN, VALIDATION, TEST)
_PART = "(train(?:ing|val)?)|(val(?:id(?:ation)?)?|dev)|(test(?:ing)?|eval(?:uation)?)"
_NAME = re.compile(rf"(?:{_PART})(?:set|data|dataset|split|images?|imgs?)?\d*")
_WORDS = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def find_parts(folder: Path, names: list[str], flat: Collection[str] = ()) -> dict[str, str]:
    """The names of the folders that are parts, by the part; empty if the folders are the classes.

    Folders are parts if they have the usual names of a training part and of another part, and hold folders. Names with
    other words in them, as `seg_train` and `seg_test`, count as well if all these folders hold folders or all folders
    have such names.

    Args:
        folder: the folder that holds them.
        names: the names of all folders in it.
        flat: the names of those that may be parts without class folders, since their images have labels elsewhere.

    Raises:
        UserError: the parts are incomplete or ambiguous, or the folders may be parts or classes.
    """
    named = {name: part for name in names if (part := _part(name)) is not None}
    divided = [name for name in names if _part_in(name) is not None and (name in flat or folder_names(folder / name))]
    if not _is_division(named.values()):
        similar = {name: part for name in names if (part := _part_in(name)) is not None}
        if _is_division(similar.values()) and (len(similar) == len(names) or len(similar) == len(divided)):
            named = similar
    divided = [name for name in divided if name in named]
    if _is_division(named.values()):
        _check_parts(folder, named, divided)
        return {part: name for part in _PARTS for name in named if named[name] == part}
    if divided:
        raise _incomplete(folder, divided[0], named[divided[0]])
    if len(named) == len(names) > 1:
        raise _undivided(folder, [*named])
    return {}


def named_parts(names: list[str]) -> list[str]:
    """The names that are usual for parts."""
    return [name for name in names if _part(name) is not None]


def flat_parts(folder: Path, names: list[str]) -> dict[str, str]:
    """The folders with usual names of validation or test parts that hold no folders, and the part of each."""
    named = {name: part for name in names if (part := _part(name)) in (VALIDATION, TEST)}
    return {name: part for name, part in named.items() if not folder_names(folder / name)}


def divided_again(names: set[str]) -> bool:
    """Whether the names include those of a training part and of another part."""
    return _is_division(map(_part, names))


def _is_division(parts: Iterable[str | None]) -> bool:
    present = {*parts} - {None}
    return TRAIN in present and len(present) > 1


def _part(name: str) -> str | None:
    """The part with this usual name, in any case, with any punctuation, with or without a number; else None."""
    match = _NAME.fullmatch("".join(filter(str.isalnum, name)).lower())
    return None if match is None else _PARTS[(match.lastindex or 1) - 1]


def _part_in(name: str) -> str | None:
    """The part that the name, or a word in it, is usual for; else None."""
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
        fault = (
            f"no 'test' beside it: add it, or name {shown(str(folder / name))} to use a fifth of its images for "
            "the test"
        )
    else:
        fault = "no 'train' beside it: put the folders of the classes to train on into a folder 'train' there"
    return UserError(
        f"{folder} has a folder '{shown(name)}' of class folders but {fault}; or if it is a class, rename it."
    )
