"""Results of a sweep: read from the run folders, written to files, drawn, and summarised."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn.from_json import read_object
from cnn.monitoring.figures.comparison_figure import draw_comparison
from cnn.monitoring.records.comparison import RunResult, best_runs, result_line, write_comparison
from cnn.monitoring.records.metrics import read_metrics
from cnn.monitoring.tensorboard.hyperparameters import Session, write_hyperparameters
from cnn.shown_text import on_one_line, shell_word
from cnn.sweeps.sweep import OUTPUT, Run, last_failure

_MAX_VALUE = 1e12
"""Larger than any accuracy or number of seconds."""


def read_result(run: Run) -> RunResult:
    """Reads the result of a run that has ended or failed."""
    metrics_path, summary_path = run.folder / "metrics.jsonl", run.folder / "summary.json"
    records = read_metrics(metrics_path) if metrics_path.is_file() else []
    summary = read_object(summary_path) if run.state == "done" else {}
    settings = run.combination.settings
    return RunResult(
        name=run.combination.name,
        data=settings.data.data,
        model=settings.model.model,
        optimizer=settings.optimizer.optimizer,
        learning_rate=settings.optimizer.base_learning_rate,
        own=run.combination.distinguishing,
        outcome="done" if run.state == "done" else "diverged" if run.state == "diverged" else "failed",
        reason=run.failure or ("" if run.state == "done" else last_failure(run.folder)),
        curve=[
            (record["step"], record["accuracy"])
            for record in records
            if record["part"] == "validation" and record.get("accuracy") is not None
        ],
        test_accuracy=_number(summary, "test_accuracy"),
        steps=max((record["step"] for record in records), default=0),
        seconds=_number(summary, "seconds"),
    )


def _number(summary: Mapping[str, Any], name: str) -> float | None:
    value = summary.get(name)
    return float(value) if isinstance(value, int | float) and 0 <= value < _MAX_VALUE else None


def write_results(folder: Path, runs: Sequence[Run]) -> list[RunResult]:
    """Writes the tables, a figure for each data set, and TensorBoard's hyperparameters. Raises OSError."""
    results = [read_result(run) for run in runs]
    write_comparison(folder, results)
    for data in dict.fromkeys(result.data for result in results):
        draw_comparison([result for result in results if result.data == data], folder / f"{data}.png")
    write_hyperparameters(
        [Session(folder=run.folder, settings=run.combination.explicit, done=run.state == "done") for run in runs]
    )
    return results


def closing_lines(folder: Path, results: Sequence[RunResult]) -> str:
    """Summarises the best runs, the runs that diverged or failed, and the location of all files."""
    lines = [f"{len(results)} runs, {_count(results, 'done')} done"]
    lines[0] += "".join(f", {_count(results, each)} {each}" for each in ("diverged", "failed") if _count(results, each))
    for (data, model), best in best_runs(results).items():
        lines.append(
            f"best on {data}: {model} with {best.optimizer} at {best.learning_rate:g}, "
            f"{100 * (best.best_validation_accuracy or 0):.1f} % on the validation part, "
            f"{100 * (best.test_accuracy or 0):.1f} % on the test part"
        )
    for result in results:
        if result.outcome != "done":
            more = f" See {folder / result.name / OUTPUT}." if result.outcome == "failed" else ""
            lines.append(result_line(result) + more)
    lines.append(f"Everything is in {folder}: results.md, results.csv, results.json and a figure for each data set. ")
    lines[-1] += f"To compare the runs in TensorBoard (HPARAMS): `tensorboard --logdir {shell_word(folder)}`."
    return "\n".join(map(on_one_line, lines))


def _count(results: Sequence[RunResult], outcome: str) -> int:
    return sum(result.outcome == outcome for result in results)
