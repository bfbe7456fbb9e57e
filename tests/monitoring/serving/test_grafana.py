"""The dashboard in docs/grafana.json asks for what a run serves."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cnn.learner.metric_table import METRICS
from cnn.monitoring.serving.served_numbers import ServedNumbers

DASHBOARD = json.loads((Path(__file__).parents[3] / "docs" / "grafana.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]


@pytest.fixture(scope="module")
def served() -> set[str]:
    """The names of all samples."""
    numbers = ServedNumbers({"cnn": "0.1.0"}, {"model": "lenet5"}, workers=1)
    numbers.times({"input": 0.1}, {"start": 1.0}, 0.5)
    numbers.limit("input")
    for part in ("train", "validation", "test"):
        numbers.means(part, dict.fromkeys(METRICS, 0.5))
    return {sample.name for family in numbers.registry.collect() for sample in family.samples}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_query_names_numbers_that_are_served(panel: dict[str, Any], served: set[str]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        names = set(re.findall(r"(\w+)\{", target["expr"]))
        assert names and names <= served
        assert not set(re.findall(r"(?:cnn|process)_\w+", target["expr"])) - names  # those without a selection
        assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_every_number_of_a_run_is_on_it(served: set[str]) -> None:
    queries = "\n".join(target["expr"] for panel in PANELS for target in panel["targets"])
    of_evaluations_alone = {f"cnn_{name}" for name in METRICS} - {"cnn_loss", "cnn_accuracy"}
    assert {name for name in served if name.startswith("cnn_") and name not in queries} == of_evaluations_alone


def test_the_variables_that_queries_use_are_defined() -> None:
    used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(PANELS)))
    defined = [each["name"] for each in DASHBOARD["templating"]["list"]]
    assert used == set(defined)


def test_no_panel_lies_on_another() -> None:
    cells = [
        (x, y)
        for panel in PANELS
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
