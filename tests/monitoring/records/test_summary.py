import json
import math
from pathlib import Path
from typing import Any

import pytest

from cnn.monitoring.records.summary import closing_paragraph, write_json

SUMMARY: dict[str, Any] = {
    "model": "lenet5-like",
    "data": "digits",
    "world_size": 2,
    "steps": 690,
    "epochs": 30,
    "test_accuracy": 356 / 360,
    "test_correct": 356,
    "test_count": 360,
    "images_per_second": 3120.4,
    "seconds": 14.2,
    "run_dir": "runs/x",
    "figure": "runs/x/curves.png",
}


def test_json_keeps_the_order_and_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "run" / "summary.json"
    write_json(path, {"z": 1, "a": [math.nan, 0.5], "deep": {"x": -math.inf, "name": "é"}})
    assert path.read_text() == (
        '{\n  "z": 1,\n  "a": [\n    null,\n    0.5\n  ],\n  "deep": {\n    "x": null,\n    "name": "é"\n  }\n}\n'
    )


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_paragraph_names_result_and_place_and_each_command_has_a_line(columns: int) -> None:
    long = f"python jobs/evaluate.py --run_dir {'x' * 200}"
    *paragraph, first, second = closing_paragraph(SUMMARY, ["tensorboard --logdir 'a  b'", long], columns).splitlines()
    assert max(map(len, paragraph)) <= min(columns, 100)
    assert " ".join(paragraph) == (
        "lenet5-like on digits: 356 of 360 test images right (98.9 %), after 30 epochs (690 steps) on 2 workers at "
        "3,120 img/s in 14 s. Everything is in runs/x: curves.png there shows accuracy and loss. Next, for example:"
    )
    assert (first, second) == ("  tensorboard --logdir 'a  b'", f"  {long}")


def test_a_run_that_patience_ended_says_so() -> None:
    early = SUMMARY | {"best_step": 1200, "steps": 1380, "ended_early": True, "patience": 3}
    paragraph = " ".join(closing_paragraph(early, [], 80).split())
    assert "It ended early: in 3 epochs no validation result was better than that of step 1,200. " in paragraph
    assert "in 1 epoch no" in " ".join(closing_paragraph(early | {"patience": 1}, [], 80).split())
    assert "early" not in closing_paragraph(early | {"ended_early": False}, [], 80)


def test_one_worker_is_not_workers_and_a_speed_that_is_not_known_is_not_zero() -> None:
    one = SUMMARY | {"world_size": 1, "epochs": 1, "images_per_second": None}
    assert "after 1 epoch (690 steps) on 1 worker in 14 s." in " ".join(closing_paragraph(one, [], 80).split())
    assert "after 46.15 epochs" in closing_paragraph(SUMMARY | {"epochs": 600 / 13}, [], 200)


def test_json_with_a_name_that_is_no_utf_8_is_valid(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"run_dir": "caf\udce9\n'\u00e9"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"run_dir": "caf\udce9\n'\u00e9"}
