"""The summary of a run: RUN/summary.json and the closing paragraph printed at its end."""

import json
import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn.duration import duration
from cnn.monitoring.finite import finite
from cnn.monitoring.whole_file import write_whole
from cnn.shown_text import on_one_line, shell_word

_COLUMNS = 100
_UNBREAKABLE_SPACE = "\0"  # occurs in no path


def write_json(path: Path, mapping: Mapping[str, Any]) -> None:
    """Writes the mapping in its order; non-finite floats become null. Raises OSError and TypeError."""
    text = json.dumps(finite(mapping), indent=2, allow_nan=False, ensure_ascii=False)
    # Lone surrogates, from file names that are not UTF-8, become JSON escapes.
    write_whole(path, text.encode(errors="backslashreplace") + b"\n")


def closing_paragraph(summary: Mapping[str, Any], *, by_steps: bool = False, can_be_extended: bool = True) -> str:
    """Returns the result, the location of all files and suggestions for further runs, wrapped to 100 columns.

    Reads the keys model, data, world_size, steps, epochs, test_accuracy (0 to 1), test_correct, test_count,
    images_per_second, seconds, run_dir and figure; of a run that ended_early, also best_step and patience. `by_steps`:
    the length was set in steps, which override epochs; `can_be_extended`: the run can be resumed for more of them.
    """
    workers = _count(summary["world_size"], "worker")
    result = (
        f"{summary['model']} on {summary['data']}: {summary['test_correct']:,} of {summary['test_count']:,} test "
        f"images right ({100 * summary['test_accuracy']:.1f} %), after {_count(round(summary['epochs'], 2), 'epoch')} "
        f"({_count(summary['steps'], 'step')}) on {workers} at {summary['images_per_second']:,.0f} img/s "
        f"in {duration(summary['seconds'])}."
    )
    if summary.get("ended_early"):
        result += (
            f" It ended early: in {_count(summary['patience'], 'epoch')} no validation result was better than that of "
            f"step {summary['best_step']:,}."
        )
    run_dir, figure = Path(summary["run_dir"]), Path(summary["figure"]).name
    live = _command(f"tensorboard --logdir {shell_word(run_dir.parent)}")
    location = (
        f"Everything is in {on_one_line(str(run_dir))}: {figure} shows accuracy and loss; see it live with {live}."
    )
    return textwrap.fill(
        f"{result} {location} {_suggestions(summary, by_steps, can_be_extended)}",
        _COLUMNS,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace(_UNBREAKABLE_SPACE, " ")


def _suggestions(summary: Mapping[str, Any], by_steps: bool, can_be_extended: bool) -> str:
    data = _command("--data " + ("mnist" if summary["data"] == "fashion-mnist" else "fashion-mnist"))
    workers = _command(f"horovodrun -np {2 * summary['world_size']}")
    settings = shell_word(Path(summary["run_dir"]) / "settings.yaml")
    unit = "steps" if by_steps else "epochs"
    folder = "--resume" if can_be_extended else f"--run_dir {shell_word(summary['run_dir'] + '-longer')}"
    longer = _command(f"--config {settings} {folder} --{unit} {2 * math.ceil(summary[unit])}")
    more = f"more {unit}" if can_be_extended else f"more {unit} from the start"
    if summary.get("ended_early"):
        more, longer = "more patience", _command(f"--config {settings} --resume --patience {2 * summary['patience']}")
    return f"Next: another data set ({data}), more workers ({workers}) or {more} ({longer})."


def _command(text: str) -> str:
    """Returns a command in backquotes that is never wrapped, so that it can be copied."""
    return f"`{text}`".replace(" ", _UNBREAKABLE_SPACE)


def _count(number: float, noun: str) -> str:
    return f"{number:,.4g} {noun}" if number == 1 else f"{number:,.7g} {noun}s"
