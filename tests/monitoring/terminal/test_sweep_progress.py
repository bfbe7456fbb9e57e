"""What is shown of a sweep while it runs."""

import io
import re

from cnn.monitoring.terminal.sweep_progress import SweepProgress


def test_lines_count_and_tell_the_time_left() -> None:
    stream, now = io.StringIO(), [100.0]
    progress = SweepProgress(12, 9, stream, terminal=False, clock=lambda: now[0])
    for seconds, name, result in ((110.0, "a", "a: 1 %"), (130.0, "b", "b: 2 %"), (131.0, "c", "c: 3 %")):
        progress.started(name)
        now[0] = seconds
        progress.ended(name, result)
    progress.close()
    assert stream.getvalue().splitlines() == [
        " 9/12 a: started",
        "10/12 a: 1 %  (20 s left)",
        "10/12 b: started  (20 s left)",
        "11/12 b: 2 %  (15 s left)",
        "11/12 c: started  (15 s left)",
        "12/12 c: 3 %",
    ]


def test_a_terminal_shows_a_bar_with_what_is_trained_below_the_lines() -> None:
    stream = io.StringIO()
    progress = SweepProgress(3, 1, stream, terminal=True)
    progress.started("a")
    progress.started("b")
    progress.ended("a", "a: 1 %")
    progress.close()
    shown = [piece.rstrip() for piece in re.split("[\r\n]+", stream.getvalue()) if piece.strip()]
    assert " 33 % |" in shown[0]
    assert shown[0].endswith("1/3 runs  training a")
    assert shown[1].endswith("1/3 runs  training a  b")
    assert "a: 1 %" in shown
    assert shown[-1].endswith("training b")
    assert "2/3 runs" in shown[-1]
