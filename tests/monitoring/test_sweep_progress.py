"""What is shown of a sweep while it runs."""

import io

from cnn.monitoring.sweep_progress import SweepProgress


def test_lines_count_and_tell_the_time_left() -> None:
    stream, now = io.StringIO(), [100.0]
    progress = SweepProgress(12, 9, stream, terminal=False, clock=lambda: now[0])
    for seconds, line in ((110.0, "a: 1 %"), (130.0, "b: 2 %"), (131.0, "c: 3 %")):
        now[0] = seconds
        progress.ended(line)
    progress.close()
    assert stream.getvalue() == "10/12 a: 1 %  (20 s left)\n11/12 b: 2 %  (15 s left)\n12/12 c: 3 %\n"


def test_a_terminal_shows_a_bar_below_the_lines() -> None:
    stream = io.StringIO()
    progress = SweepProgress(3, 1, stream, terminal=True)
    progress.ended("a: 1 %")
    progress.close()
    text = stream.getvalue()
    assert "1/3 runs |" in text
    assert "a: 1 %\n" in text
    assert "2/3 runs |" in text[text.index("a: 1 %") :]
