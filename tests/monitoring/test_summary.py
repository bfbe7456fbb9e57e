import json
import math
from pathlib import Path
from typing import Any

import pytest

from cnn.monitoring.summary import closing_paragraph, write_json
from cnn.shown_text import shell_word

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


def test_the_paragraph_names_result_place_and_next_steps() -> None:
    paragraph = closing_paragraph(SUMMARY)
    assert max(map(len, paragraph.splitlines())) <= 100
    assert " ".join(paragraph.split()) == (
        "lenet5-like on digits: 356 of 360 test images right (98.9 %), after 30 epochs (690 steps) on 2 workers at "
        "3,120 img/s in 14 s. Everything is in runs/x: curves.png shows accuracy and loss; see it live with "
        "`tensorboard --logdir runs`. Next: another data set (`--data fashion-mnist`), more workers "
        "(`horovodrun -np 4`) or more epochs (`--config runs/x/settings.yaml --resume --epochs 60`)."
    )


def test_a_run_of_so_many_steps_is_gone_on_with_by_more_steps() -> None:
    paragraph = closing_paragraph(SUMMARY, by_steps=True)
    assert "or more steps (`--config runs/x/settings.yaml --resume --steps 1380`)." in paragraph.replace("\n", " ")


def test_a_run_whose_rates_depend_on_its_end_is_begun_again() -> None:
    paragraph = closing_paragraph(SUMMARY, can_be_extended=False).replace("\n", " ")
    assert (
        "or more epochs from the start (`--config runs/x/settings.yaml --run_dir runs/x-longer --epochs 60`)"
        in paragraph
    )


def test_a_run_that_patience_ended_says_so_and_names_more_of_it() -> None:
    early = SUMMARY | {"best_step": 1200, "steps": 1380, "ended_early": True, "patience": 3}
    for can_be_extended in (True, False):
        paragraph = " ".join(closing_paragraph(early, can_be_extended=can_be_extended).split())
        assert "It ended early: in 3 epochs no validation result was better than that of step 1,200. " in paragraph
        assert "or more patience (`--config runs/x/settings.yaml --resume --patience 6`)." in paragraph
    assert "in 1 epoch no" in " ".join(closing_paragraph(early | {"patience": 1}).split())
    assert "early" not in closing_paragraph(early | {"ended_early": False})


def test_one_worker_is_not_workers_and_the_next_data_set_is_another() -> None:
    paragraph = closing_paragraph(SUMMARY | {"world_size": 1, "epochs": 1, "data": "fashion-mnist"})
    assert "after 1 epoch (690 steps) on 1 worker at" in " ".join(paragraph.split())
    assert "after 46.15 epochs" in closing_paragraph(SUMMARY | {"epochs": 600 / 13})
    assert "`--data mnist`" in paragraph


@pytest.mark.parametrize(
    ("run_dir", "logdir"),
    [("/my data/it's/x", "'/my data/it'\"'\"'s'"), ("x", "."), ("/" + 30 * "long/" + "x", "/" + 29 * "long/" + "long")],
)
def test_the_command_can_be_copied_from_one_line(run_dir: str, logdir: str) -> None:
    paragraph = closing_paragraph(SUMMARY | {"run_dir": run_dir})
    assert any(f"`tensorboard --logdir {logdir}`" in line for line in paragraph.splitlines())


def test_json_with_a_name_that_is_no_utf_8_is_valid(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"run_dir": "caf\udce9\n'\u00e9"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"run_dir": "caf\udce9\n'\u00e9"}


@pytest.mark.parametrize(
    "name", ["caf\udce9", "two\nlines", "no\N{NO-BREAK SPACE}break", "-x/y", "\x1b[31m", "two  spaces"]
)
def test_the_commands_hold_folders_of_any_name(name: str) -> None:
    paragraph = closing_paragraph(SUMMARY | {"run_dir": name})
    assert f"`--config {shell_word(f'{name}/settings.yaml')} --resume" in paragraph
    assert paragraph.encode().isascii() or "\N{NO-BREAK SPACE}" in name
    assert "\x1b" not in paragraph
