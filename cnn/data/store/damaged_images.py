"""The damaged images of a data set: which they are, and the sentences that name them."""

import json
from collections.abc import Sequence
from pathlib import Path

from cnn.data.dataset import Dataset
from cnn.data.folders.listing import shown
from cnn.data.store.store_files import folder_of, sync
from cnn.errors import UserError
from cnn.from_json import from_json, parse_json

DamagedFile = tuple[str, str]
"""The path of an image file, relative to the data set's folder, and why it cannot be used."""

_NAME = "damaged.json"
_MAX_LISTED = 10


def write_damaged(store: Path, damaged: Sequence[DamagedFile]) -> None:
    """Records in a store's folder which images were left out."""
    with open(store / _NAME, "w", encoding="ascii") as text:
        json.dump(damaged, text)
        sync(text)


def refuse_left_out(dataset: Dataset, folder: Path) -> None:
    """Raises UserError if damaged images in `folder` were left out when the data set was prepared."""
    record = folder_of(dataset) / _NAME
    if record.exists():
        raise refusal(folder, _read(record))


def _read(path: Path) -> list[DamagedFile]:
    try:
        return from_json(list[DamagedFile], parse_json(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): remove {path.parent} to have it prepared again.") from error


def left_out_note(folder: Path, damaged: Sequence[DamagedFile]) -> str:
    """A sentence on damaged image files in `folder` that are not used."""
    return f"{_counted(len(damaged))} left out: {listed(folder, damaged)}"


def refusal(folder: Path, damaged: Sequence[DamagedFile]) -> UserError:
    """The error of a data set in `folder` with damaged files."""
    return UserError(
        f"{_counted(len(damaged))} cannot be used: {listed(folder, damaged)}; replace or remove all damaged files, "
        "or leave them out by --damaged skip."
    )


def listed(folder: Path, damaged: Sequence[DamagedFile]) -> str:
    """The first of the damaged files in `folder`, each with its reason, and the number of the others."""
    names = [f"{shown(str(folder / path))} ({reason})" for path, reason in damaged[:_MAX_LISTED]]
    rest = [f"and {len(damaged) - _MAX_LISTED:,} more"] if len(damaged) > _MAX_LISTED else []
    return ", ".join([*names, *rest])


def _counted(files: int) -> str:
    return "1 image file" if files == 1 else f"{files:,} image files"
