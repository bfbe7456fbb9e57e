"""How a run's wall time is divided, over all its starts."""

import pytest

from cnn.monitoring.figures.goodput_report import goodput_table
from cnn.monitoring.timing.goodput import ACTIVITIES, INPUT, LOST, STOPPED, TRAINING, StartTimes, goodput
from cnn.monitoring.timing.stopwatch import Stopwatch


def start(begin: float, steps: tuple[int, int], training: float, saved: list[tuple[int, float]], **more: float):
    seconds = {"start": 5.0, TRAINING: training, **more}
    return StartTimes(begin=begin, world_size=2, first_step=steps[0], step=steps[1], seconds=seconds, saved=saved)


def test_one_start_loses_nothing() -> None:
    whole = goodput([start(1000, (0, 80), 20, [(40, 10)], compilation=3, evaluation=2)])
    assert whole.seconds == dict.fromkeys(ACTIVITIES, 0.0) | {
        "start": 5,
        TRAINING: 20,
        "compilation": 3,
        "evaluation": 2,
    }
    assert (whole.wall, whole.share, whole.lost_steps) == (30, 20 / 30, 0)


def test_steps_after_the_checkpoint_are_lost_and_the_pause_is_stopped() -> None:
    # 25 s, killed at step 80; resumed from step 60, saved after 16 of 20 s of training, of which half was input.
    first = start(1000, (0, 80), 10, [(40, 9), (60, 16)], **{INPUT: 10})
    whole = goodput([first, start(1100, (60, 100), 12, [])])
    assert whole.seconds[LOST] == pytest.approx(4)
    assert whole.seconds[TRAINING] == pytest.approx(8 + 12)
    assert whole.seconds[INPUT] == pytest.approx(8)
    assert whole.seconds[STOPPED] == pytest.approx(100 - 25)
    assert whole.lost_steps == 20
    assert whole.wall == pytest.approx(1100 + 17 - 1000)


def test_without_a_record_of_the_checkpoint_the_loss_is_proportional() -> None:
    whole = goodput([start(0, (0, 100), 50, []), start(60, (80, 90), 1, [])])
    assert whole.seconds[LOST] == pytest.approx(10)


def test_steps_of_several_starts_can_be_lost_at_once() -> None:
    # The third start continues from before the second one: an older checkpoint was the last sound one.
    starts = [start(0, (0, 100), 10, [(50, 5)]), start(20, (100, 120), 4, []), start(40, (50, 200), 30, [])]
    whole = goodput(starts)
    assert whole.seconds[LOST] == pytest.approx(5 + 4)
    assert whole.lost_steps == 50 + 20
    assert whole.seconds[TRAINING] == pytest.approx(5 + 30)


def test_a_stopwatch_attributes_each_moment_once() -> None:
    stopwatch = Stopwatch("start", 100.0)
    with stopwatch.during("data"):
        pass
    stopwatch.switch("other")
    with stopwatch.during(TRAINING):
        with stopwatch.during(INPUT):
            pass
        sum(range(100_000))
    seconds = stopwatch.seconds()
    assert seconds["start"] >= 100
    assert seconds[TRAINING] > seconds[INPUT] > 0
    assert stopwatch.switch("data") == "other"
    stopwatch.move(1e9, TRAINING, "other")
    moved = stopwatch.seconds()
    assert moved[TRAINING] == 0
    assert moved["other"] == pytest.approx(seconds["other"] + seconds[TRAINING], abs=0.1)


def test_the_table_shows_all_activities() -> None:
    whole = goodput([start(0, (0, 100), 50, []), start(60, (80, 90), 1, [])])
    table = goodput_table(whole)
    assert "2 starts, 90 steps, 1 min 6 s" in table
    assert "20 steps were trained again" in table
    assert f"{LOST:<11} {10:>10.1f} s" in table
    assert all(f"\n{activity}" in table for activity in ACTIVITIES)
