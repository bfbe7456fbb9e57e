import pytest

from cnn.duration import duration, seconds_of


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (14, "14 s"), (59.7, "1 min 0 s"), (72, "1 min 12 s"), (3599.9, "1 h 0 min"), (11130, "3 h 5 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("8h", 28800), ("1h30m", 5400), ("45s", 45), ("2d", 172800), ("1d2h3m4s", 93784)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "1:30", "8 h", "30m1h", "0h", "h", "-1h", "1.5h", "8H", "\u0668h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds_of(text)
