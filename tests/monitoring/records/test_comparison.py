"""What several runs came to, as a table, as lines and as files."""

import csv
import json
from pathlib import Path

import pytest

from cnn.monitoring.records.comparison import RunResult, best_runs, comparison_table, result_line, write_comparison


def run(optimizer: str, rate: float, **changed: object) -> RunResult:
    values = {
        "name": f"digits-fcnn-{optimizer}-{rate:g}",
        "data": "digits",
        "model": "fcnn",
        "outcome": "done",
        "curve": [(10, 0.5), (20, 0.75), (30, 0.625)],
        "test_accuracy": 0.7,
        "steps": 1234,
        "seconds": 5.25,
    }
    return RunResult(optimizer=optimizer, learning_rate=rate, **{**values, **changed})


DIVERGED = run(
    "sgd", 1e6, outcome="diverged", reason="at step 3 it diverged; mend", curve=[], test_accuracy=None, seconds=None
)
FAILED = run("sgd", 0.5, outcome="failed", reason="no room", curve=[(10, 0.9)], test_accuracy=None, seconds=None)
BETTER = run("adam", 0.001, curve=[(10, 0.8)], test_accuracy=0.6)
OTHER = run("adam", 0.001, model="lenet5", curve=[(10, 0.1)])


def test_the_best_of_each_network_is_the_best_on_validation_that_is_done() -> None:
    results = [DIVERGED, run("sgd", 0.1), FAILED, BETTER, OTHER]
    assert best_runs(results) == {("digits", "fcnn"): BETTER, ("digits", "lenet5"): OTHER}
    assert best_runs([DIVERGED, FAILED]) == {}


def test_table() -> None:
    assert comparison_table([run("sgd", 0.1), BETTER, DIVERGED, FAILED]) == (
        "| data | network | optimizer | rate | best validation | test | steps | seconds |\n"
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| digits | fcnn | sgd | 0.1 | 75.0 % | 70.0 % | 1,234 | 5.2 |\n"
        "| digits | fcnn | adam | 0.001 | **80.0 %** | **60.0 %** | 1,234 | 5.2 |\n"
        "| digits | fcnn | sgd | 1e+06 |  | diverged |  |  |\n"
        "| digits | fcnn | sgd | 0.5 | 90.0 % | failed |  |  |\n"
    )


def test_what_else_differs_has_a_column_in_the_table_and_is_told_with_the_network() -> None:
    results = [run("sgd", 0.1, own={"seed": 1}), run("sgd", 0.1, own={"seed": 2})]
    lines = comparison_table(results).splitlines()
    assert lines[0].startswith("| data | network | optimizer | rate | seed | best")
    assert [line.split(" | ")[4] for line in lines[2:]] == ["1", "2"]
    assert results[1].network == "fcnn, seed 2"


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (BETTER, "digits-fcnn-adam-0.001: test 60.0 %, best validation 80.0 %, 1,234 steps in 5 s"),
        (DIVERGED, "digits-fcnn-sgd-1e+06: at step 3 it diverged"),
        (FAILED, "digits-fcnn-sgd-0.5: failed, no room"),
    ],
)
def test_lines(result: RunResult, line: str) -> None:
    assert result_line(result) == line


def test_files(tmp_path: Path) -> None:
    results = [run("sgd", 0.1, own={"seed": 2}), DIVERGED]
    write_comparison(tmp_path, results)
    assert (tmp_path / "results.md").read_text() == comparison_table(results)
    rows = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert (rows[0]["best_validation_accuracy"], rows[0]["test_accuracy"], rows[0]["own"]) == (0.75, 0.7, {"seed": 2})
    assert (rows[1]["outcome"], rows[1]["reason"], rows[1]["test_accuracy"]) == ("diverged", DIVERGED.reason, None)
    assert rows[0]["curve"] == [[10, 0.5], [20, 0.75], [30, 0.625]]
    with open(tmp_path / "results.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["learning_rate"] for row in table] == ["0.1", "1000000.0"]
    assert [row["seed"] for row in table] == ["2", ""]
    assert not {"own", "curve"} & table[0].keys()
