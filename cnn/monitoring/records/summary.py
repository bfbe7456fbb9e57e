"""The summary of a run: RUN/summary.json and the closing paragraph printed at its end."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn.duration import duration
from cnn.monitoring.records.finite import finite
from cnn.shown_text import counted, on_one_line
from cnn.whole_file import write_whole

_MAX_COLUMNS = 100
_UNBREAKABLE_SPACE = "\0"  # occurs in no path


def write_json(path: Path, mapping: Mapping[str, Any]) -> None:
    """Writes the mapping in its order; non-finite floats become null. Raises OSError and TypeError."""
    text = json.dumps(finite(mapping), indent=2, allow_nan=False, ensure_ascii=False)
    # Lone surrogates, from file names that are not UTF-8, become JSON escapes.
    write_whole(path, text.encode(errors="backslashreplace") + b"\n")


def closing_paragraph(summary: Mapping[str, Any], commands: Sequence[str], columns: int) -> str:
    """Returns the result and the location of all files, and below them commands to run next, a line each.

    Args:
        summary: a mapping with the keys model, data, world_size, steps, epochs, test_accuracy (0 to 1), test_correct,
            test_count, images_per_second (None if unknown), seconds, run_dir and figure; of a run that
            ended_early, also best_step and patience.
        commands: the commands, which are never wrapped, so that they can be copied.
        columns: width of the terminal.
    """
    workers, speed = counted(summary["world_size"], "worker"), summary["images_per_second"]
    result = (
        f"{summary['model']} on {summary['data']}: {summary['test_correct']:,} of {summary['test_count']:,} test "
        f"images right ({100 * summary['test_accuracy']:.1f} %), after {counted(round(summary['epochs'], 2), 'epoch')} "
        f"({counted(summary['steps'], 'step')}) on {workers}{'' if speed is None else f' at {speed:,.0f} img/s'} "
        f"in {duration(summary['seconds'])}."
    )
    if summary.get("ended_early"):
        result += (
            f" It ended early: in {counted(summary['patience'], 'epoch')} no validation result was better than that of "
            f"step {summary['best_step']:,}."
        )
    run_dir, figure = on_one_line(summary["run_dir"]), Path(summary["figure"]).name
    text = f"{result} Everything is in {run_dir}: {figure} there shows accuracy and loss. Next, for example:"
    text = text.replace(" %", f"{_UNBREAKABLE_SPACE}%")
    wrapped = textwrap.fill(text, min(columns, _MAX_COLUMNS), break_long_words=False, break_on_hyphens=False)
    return "\n".join([wrapped.replace(_UNBREAKABLE_SPACE, " "), *(f"  {command}" for command in commands)])
