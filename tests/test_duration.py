import pytest

from cnn.duration import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (14, "14 s"), (59.7, "1 min 0 s"), (72, "1 min 12 s"), (3599.9, "1 h 0 min"), (11130, "3 h 5 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
