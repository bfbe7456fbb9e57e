"""Comparison of several runs' results: a Markdown table, and CSV and JSON files."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cnn.duration import duration
from cnn.monitoring.records.summary import write_json
from cnn.shown_text import on_one_line
from cnn.whole_file import write_whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
    """The settings and the outcome of one run."""

    name: str
    data: str
    model: str
    optimizer: str
    learning_rate: float

    own: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further settings that distinguish the run from others; `own` is also the field's name in results.json."""

    outcome: Literal["done", "diverged", "failed"]
    reason: str = ""
    """Why the run diverged or failed; empty if it is done."""

    curve: Sequence[tuple[int, float]] = ()
    """Step and validation accuracy (0 to 1) of each evaluation."""

    test_accuracy: float | None = None
    """Test accuracy (0 to 1) of the weights that were best on the validation part."""

    steps: int = 0
    seconds: float | None = None

    @property
    def best_validation_accuracy(self) -> float | None:
        return max((accuracy for _, accuracy in self.curve), default=None)

    @property
    def network(self) -> str:
        """The network, with the further settings that distinguish the run: the title of its panel in a figure."""
        return on_one_line(", ".join([self.model, *(f"{name} {value}" for name, value in self.own.items())]))


def best_runs(results: Iterable[RunResult]) -> dict[tuple[str, str], RunResult]:
    """Returns the completed run with the best validation accuracy for each pair of data set and network."""
    best: dict[tuple[str, str], RunResult] = {}
    for result in results:
        if result.outcome != "done":
            continue
        previous = best.setdefault((result.data, result.model), result)
        if _score(result) > _score(previous):
            best[result.data, result.model] = result
    return best


def _score(result: RunResult) -> float:
    return -1.0 if result.best_validation_accuracy is None else result.best_validation_accuracy


def result_line(result: RunResult) -> str:
    """Summarises the outcome of one run in a line."""
    return on_one_line(_summary(result))


def _summary(result: RunResult) -> str:
    if result.outcome == "diverged":
        return f"{result.name}: {result.reason.partition(';')[0]}"
    if result.outcome == "failed":
        return f"{result.name}: failed, {result.reason}"
    return (
        f"{result.name}: test {_percent(result.test_accuracy)}, best validation "
        f"{_percent(result.best_validation_accuracy)}, {result.steps:,} steps in {duration(result.seconds or 0)}"
    )


def comparison_table(results: Sequence[RunResult]) -> str:
    """Returns a Markdown table with each network's best run in bold."""
    further = list(dict.fromkeys(name for result in results for name in result.own))
    headings = ["data", "network", "optimizer", "rate", *further, "best validation", "test", "steps", "seconds"]
    numeric = {"rate", "best validation", "test", "steps", "seconds"}
    best = best_runs(results).values()
    rows = [headings, ["---:" if heading in numeric else "---" for heading in headings]]
    for result in results:
        cells = [result.data, result.model, result.optimizer, f"{result.learning_rate:g}"]
        cells += [str(result.own.get(name, "")) for name in further]
        test = _percent(result.test_accuracy) if result.outcome == "done" else result.outcome
        accuracies = [_percent(result.best_validation_accuracy), test]
        cells += [f"**{cell}**" if result in best else cell for cell in accuracies]
        done = result.outcome == "done"
        cells += [f"{result.steps:,}" if done else "", f"{result.seconds:,.1f}" if result.seconds is not None else ""]
        rows.append(cells)
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows) + "\n"


def _cell(text: str) -> str:
    return on_one_line(text).replace("|", r"\|")


def _percent(accuracy: float | None) -> str:
    return "" if accuracy is None else f"{100 * accuracy:.1f} %"


def write_comparison(folder: Path, results: Sequence[RunResult]) -> None:
    """Writes results.md, results.csv and results.json. Raises OSError."""
    write_whole(folder / "results.md", comparison_table(results).encode())
    rows = [_row(result) for result in results]
    write_json(folder / "results.json", {"runs": rows})
    text = io.StringIO()
    flat = [{**row.pop("own"), **row} for row in rows]
    for row in flat:
        del row["curve"]
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in flat for name in row)))
    writer.writeheader()
    writer.writerows(flat)
    write_whole(folder / "results.csv", text.getvalue().encode())


def _row(result: RunResult) -> dict[str, Any]:
    row = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    row["own"] = {name: on_one_line(value) if isinstance(value, str) else value for name, value in result.own.items()}
    row["best_validation_accuracy"] = result.best_validation_accuracy
    return row
