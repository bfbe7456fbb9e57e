"""The first point of a run that differs in its repetition."""

from typing import Any

from cnn.measuring.replay import comparable_points, first_difference


def curve(*points: tuple[str, int, float]) -> list[dict[str, Any]]:
    return [{"part": part, "step": step, "loss": loss} for part, step, loss in points]


def test_the_same_curve_and_others() -> None:
    run = curve(("train", 5, 0.5), ("train", 8, 0.4), ("validation", 8, 0.3), ("test", 8, 0.2))
    assert first_difference(run, run) == ""
    assert first_difference(run[:2], run) == ""  # the repetition may go further
    assert first_difference(run, run[:3]) == "at step 8 the repetition has no test point"
    other = curve(("train", 5, 0.5), ("train", 8, 0.9))
    assert first_difference(run, other) == "at step 8 the train loss was 0.4 and is 0.9 now"


def test_points_of_other_steps_are_not_compared() -> None:
    run = curve(("train", 4, 0.5), ("train", 6, 0.4), ("train", 8, 0.3), ("validation", 8, 0.3))
    again = curve(("train", 2, 0.9), ("train", 4, 0.8), ("train", 6, 0.4), ("train", 8, 0.3), ("validation", 8, 0.3))
    assert comparable_points(run, again) == run[1:]
    assert comparable_points(run, again[:3]) == [run[1], run[3]]
    assert first_difference(run[1:], again) == ""
    again[2]["loss"] = 0.0
    assert first_difference(run[1:], again) == "at step 6 the train loss was 0.4 and is 0.0 now"
