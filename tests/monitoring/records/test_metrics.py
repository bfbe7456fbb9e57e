import json
import math
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.errors import UserError
from cnn.monitoring.records.metrics import MetricsLog, read_metrics
from tests.hostile import DEEP, altered, altered_json, examples, read_or_sentence


def write_steps(path: Path, steps: range, resume_step: int | None = None, loss: float = 1.0) -> None:
    log = MetricsLog(path, resume_step)
    for step in steps:
        log.append("train", step, step / 4, {"loss": loss, "accuracy": 0.5})
    log.close()


def test_records_come_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    log = MetricsLog(path, None)
    log.append("train", 7, 0.5, {"loss": 0.25, "accuracy": 0.75, "learning_rate": 0.1, "images_per_second": 3000.0})
    log.append("test", 8, 0.6, {"loss": 0.5, "accuracy": 0.625})
    first, second = read_metrics(path)  # before close: each record is in the file at once
    log.close()
    written = first.pop("time")
    assert abs(written - os.path.getmtime(path)) < 60
    assert list(first) == ["part", "step", "epoch", "loss", "accuracy", "learning_rate", "images_per_second"]
    assert (first["part"], first["step"], first["epoch"], first["loss"]) == ("train", 7, 0.5, 0.25)
    assert (second["part"], second["accuracy"]) == ("test", 0.625)


def test_floats_that_are_not_finite_are_valid_json(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "m", None)
    log.append("train", 1, 0.1, {"loss": math.nan, "accuracy": math.inf})
    log.close()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    record = json.loads((tmp_path / "m").read_text(), parse_constant=refuse)
    assert record["loss"] is None
    assert record["accuracy"] is None


def test_resuming_keeps_each_step_once(tmp_path: Path) -> None:
    path = tmp_path / "m"
    write_steps(path, range(1, 8), loss=1.0)
    with path.open("ab") as file:
        file.write(b'{"part": "train", "st')
    write_steps(path, range(6, 10), resume_step=5, loss=2.0)
    assert [(r["step"], r["loss"]) for r in read_metrics(path)] == [(n, 1.0 if n <= 5 else 2.0) for n in range(1, 10)]
    assert path.read_bytes().endswith(b"}\n")
    assert os.listdir(tmp_path) == ["m"]


def test_what_is_done_again_at_the_step_of_a_resume_is_recorded_once(tmp_path: Path) -> None:
    path = tmp_path / "m"
    for resume_step, parts in ((None, ("train", "validation")), (4, ("validation", "test")), (4, ("test",))):
        log = MetricsLog(path, resume_step)
        for part in parts:
            log.append(part, 4, 1.0, {"loss": 1.0})
        log.close()
    log = MetricsLog(path, 4)
    log.append("validation", 5, 1.25, {"loss": 1.0})
    log.close()
    records = [(record["part"], record["step"]) for record in read_metrics(path)]
    assert records == [("train", 4), ("validation", 4), ("test", 4), ("validation", 5)]


def test_resuming_completes_a_record_that_lacks_only_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "m"
    write_steps(path, range(1, 3))
    path.write_bytes(path.read_bytes()[:-1])
    write_steps(path, range(3, 4), resume_step=2)
    assert [r["step"] for r in read_metrics(path)] == [1, 2, 3]


def test_resuming_without_a_file_starts_one(tmp_path: Path) -> None:
    write_steps(tmp_path / "m", range(1, 3), resume_step=0)
    assert len(read_metrics(tmp_path / "m")) == 2


def test_a_new_run_does_not_touch_another_ones_metrics(tmp_path: Path) -> None:
    write_steps(tmp_path / "m", range(1, 3))
    before = (tmp_path / "m").read_bytes()
    with pytest.raises(UserError, match="already holds"):
        MetricsLog(tmp_path / "m", None)
    assert (tmp_path / "m").read_bytes() == before


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_last_line_cut_anywhere_is_passed_over(tmp_path: Path, cut: int) -> None:
    write_steps(tmp_path / "m", range(1, 4))
    whole = (tmp_path / "m").read_bytes()
    (tmp_path / "m").write_bytes(whole[: -1 - cut])
    assert [r["step"] for r in read_metrics(tmp_path / "m")] == [1, 2]


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe", b"[1]", b'{"step": 1}', b'{"part": "train", "step": 1.5}', b"", b"\0\0"]
)
def test_other_damage_is_named_with_file_and_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "m"
    write_steps(path, range(1, 4))
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], damage, *lines[2:]]))
    with pytest.raises(UserError, match=rf"{path}, line 2"):
        read_metrics(path)
    before = path.read_bytes()
    with pytest.raises(UserError):
        MetricsLog(path, 1)
    assert path.read_bytes() == before


LINE = {"part": "train", "step": 7, "epoch": 0.5, "loss": 0.25, "accuracy": None, "time": 1e9}


@examples(200)
@given(
    altered(json.dumps(LINE).encode() * 2)
    | altered_json(LINE).map(lambda line: json.dumps(line).encode())
    | st.just(DEEP)
)
def test_any_line_is_a_record_of_numbers_or_one_sentence(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "m"
    path.write_bytes(line + b"\n" + json.dumps(LINE).encode() + b"\n")
    for record in read_or_sentence(lambda: read_metrics(path), f"{path}, line ", UserError) or []:
        assert isinstance(record.pop("part"), str)
        assert isinstance(record["step"], int)
        assert record["epoch"] is not None
        assert all(math.isfinite(100.0 * value) for value in record.values() if value is not None)


def test_a_line_without_end_and_steps_that_no_run_comes_to(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    tracemalloc.start()
    with pytest.raises(UserError, match="line 1: not a metrics record .it has more than 10,000 characters"):
        read_metrics(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    for step in (-1, 10**18):
        path.write_text(json.dumps({"part": "train", "step": step, "epoch": 1}) + "\n")
        with pytest.raises(UserError, match="line 1: not a metrics record .its step is out of range"):
            read_metrics(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="it is not a file"):
        read_metrics(path)
