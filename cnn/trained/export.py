"""Export of a run's network to formats that other programs load without this package."""

import dataclasses
import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from cnn.choices import check_choice
from cnn.errors import RunError, UserError
from cnn.quiet_import import import_tensorflow_quietly
from cnn.runs.data_record import RunData
from cnn.runs.saved_run import NetworkSettings, SavedRun, open_run
from cnn.shown_text import on_one_line
from cnn.trained.export_formats import FORMATS

if TYPE_CHECKING:
    import keras

_EXACT, _SHORT = 1e-4, 0.05
"""Maximum difference of a probability: in float32 and float64, and in precisions with shorter types."""


def _default_formats() -> list[str]:
    return ["keras", "saved_model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """The export."""

    formats: list[str] = dataclasses.field(default_factory=_default_formats)
    """Any of keras, saved_model, onnx (which needs the packages tf2onnx and onnxruntime) and tflite."""

    output: str | None = None
    """Folder of the export, empty or missing; by default export-STEP in the run folder."""

    def __post_init__(self) -> None:
        for name in self.formats:
            check_choice("format", name, FORMATS)


def export_run(network: NetworkSettings, settings: ExportSettings) -> None:
    """Writes the network in each format, and classes.json; the folder appears only when all are written and checked."""
    run = open_run(network.folder)
    _check_packages(settings.formats)
    path = run.checkpoint_path(network.checkpoint)
    _check_name(run.folder if settings.output is None else Path(settings.output))
    import_tensorflow_quietly()
    model, step = run.load_network(network.checkpoint)
    folder = run.folder / f"export-{step:09d}" if settings.output is None else Path(settings.output)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"{folder} is not empty: choose another --output, or empty it.")
        shutil.rmtree(unfinished, ignore_errors=True)
        difference = _write(run, model, network.checkpoint, settings.formats, unfinished)
        unfinished.rename(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another --output.") from error
    print(on_one_line(f"Exported {path} to {folder}: {_description(run.data, settings.formats, difference)}"))


def _check_packages(formats: list[str]) -> None:
    for name in formats:
        missing = [each for each in FORMATS[name].packages if importlib.util.find_spec(each) is None]
        if missing:
            raise UserError(
                f"--formats {name} needs packages that are not installed: install {' and '.join(missing)}, for example "
                f"by `uv pip install {' '.join(missing)}`, or leave {name} out."
            )


def _check_name(folder: Path) -> None:
    try:
        os.fsencode(folder).decode()
    except UnicodeDecodeError:
        raise UserError(f"the path {folder} is not UTF-8, as TensorFlow requires: choose another --output.") from None


def _write(run: SavedRun, model: "keras.Model", checkpoint: str, formats: list[str], folder: Path) -> float:
    """Writes the formats in the run's precision, or in float32 those that have no other; returns as `write_export`."""
    tolerance = _EXACT if run.settings.step.precision in ("float32", "float64") else _SHORT
    own = [name for name in formats if not FORMATS[name].only_float32]
    difference = write_export(model, run.data, folder, own, tolerance)
    if single := [name for name in formats if name not in own]:
        if run.settings.step.precision != "float32":
            step = dataclasses.replace(run.settings.step, precision="float32")
            run = dataclasses.replace(run, settings=dataclasses.replace(run.settings, step=step))
            model, _ = run.load_network(checkpoint)
        difference = max(difference, write_export(model, run.data, folder, single, _EXACT))
    return difference


def write_export(
    model: "keras.Model", data: RunData, folder: Path, formats: list[str], tolerance: float = _EXACT
) -> float:
    """Writes a network into a folder in some formats, and checks each by loading it.

    Args:
        model: a network that returns logits, or a list of logits and auxiliary logits.
        data: describes the data that it was trained on.
        folder: the folder, created if missing.
        formats: names of the formats.
        tolerance: how much a probability may differ from the network's.

    Returns:
        The largest difference of a probability.

    Raises:
        RunError: a written network has other probabilities.
    """
    from cnn.trained.exported_network import check_images

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.json").write_text(json.dumps(data.class_names, indent=2) + "\n", encoding="utf-8")
    (images, expected), largest = check_images(model, data), 0.0
    for name in formats:
        path = folder / FORMATS[name].file
        FORMATS[name].write(model, data, path)
        difference = float(abs(FORMATS[name].probabilities(path, images) - expected).max())
        if not difference <= tolerance:
            raise RunError(
                f"the network in the format {name} computes other probabilities (by up to {difference:.2g}) than the "
                "run's network, so it is not exported: leave this format out."
            )
        largest = max(largest, difference)
    return largest


def _description(data: RunData, formats: list[str], difference: float) -> str:
    (height, width, _), (rows, columns, _) = data.image_shape, data.input_shape
    files = ", ".join(dict.fromkeys(FORMATS[name].file for name in formats))
    cropped = f", of which the network sees the central {rows} x {columns}" if rows < height or columns < width else ""
    size = f"{height} x {width} pixels{cropped}"
    scaled = "; saved_model also takes other sizes, and scales them" if "saved_model" in formats else ""
    return (
        f"{files} take uint8 images (0 to 255) of {size}{scaled}. Their probabilities differ from the network's by at "
        f"most {difference:.1g}."
    )
