"""The record of a start's times in the run folder."""

import json
from pathlib import Path

import pytest

from cnn.errors import UserError
from cnn.monitoring.timing.goodput import TRAINING
from cnn.monitoring.timing.stopwatch import Stopwatch
from cnn.runs.time_record import TIMES, TimeRecord, process_age, read_times


def record(folder: Path, first: int, *steps: int) -> TimeRecord:
    times = TimeRecord(folder, Stopwatch(TRAINING, 10.0), first, 2)
    for step in steps:
        times.saved(step)
    return times


def test_each_start_has_a_record_that_is_complete_at_any_time(tmp_path: Path) -> None:
    first = record(tmp_path, 0, 3, 6)
    first.update(8)
    second = record(tmp_path, 6)  # the first was killed: it is not closed
    starts = read_times(tmp_path)
    assert [(start.first_step, start.step) for start in starts] == [(0, 8), (6, 6)]
    assert [step for step, _ in starts[0].saved] == [3, 6]
    assert starts[0].trained >= starts[0].saved[-1][1] >= 10
    for times in (first, second):
        times.close()


def test_a_shorter_record_replaces_a_longer_one_whole(tmp_path: Path) -> None:
    times = record(tmp_path, 0, *range(1000, 1020))
    path = tmp_path / TIMES / "0001.json"
    times._times.saved = []
    times.update(1020)
    times.close()
    assert json.loads(path.read_bytes())["saved"] == []


def test_only_the_latest_checkpoints_are_kept(tmp_path: Path) -> None:
    record(tmp_path, 0, *range(1, 30)).close()
    assert [step for step, _ in read_times(tmp_path)[0].saved] == list(range(22, 30))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / TIMES).symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a link"):
        record(tmp_path / "run", 0)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"begin": -1.0}, "times are impossible"),
        ({"begin": 1e300}, "times are impossible"),
        ({"seconds": {TRAINING: float("nan")}}, "times are impossible"),
        ({"seconds": {"\x1b[2J": 1.0}}, "an activity '"),
        ({"step": 5, "first_step": 6}, "steps contradict"),
        ({"saved": [[9, 1.0]]}, "steps contradict"),
        ({"world_size": 0}, "steps contradict"),
        ({"step": "8"}, "step is of another type"),
        ({"more": 1}, "other fields"),
    ],
)
def test_a_record_that_no_run_has_written_is_refused(tmp_path: Path, values: dict[str, object], reason: str) -> None:
    record(tmp_path, 0, 3, 6).close()
    path = tmp_path / TIMES / "0001.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **values}))
    with pytest.raises(UserError, match=reason) as raised:
        read_times(tmp_path)
    assert str(raised.value).isprintable()


def test_a_process_is_as_old_as_it_is() -> None:
    import psutil

    assert process_age() > 0
    assert process_age() == pytest.approx(__import__("time").time() - psutil.Process().create_time(), abs=2)
