import io
import os
import pty

from cnn.monitoring.training_progress import TrainingProgress
from cnn.progress_display import has_terminal


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_lines_are_the_first_the_last_and_one_every_ten_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = TrainingProgress(5000, 0, stream, terminal=False, clock=clock)
    for step in range(100, 5001, 100):
        progress.update(step, step / 500, 0.3123, 0.9123, 8412.4)
        clock.now += 3.0
    lines = stream.getvalue().splitlines()
    progress.close()
    assert stream.getvalue().splitlines() == lines
    # A line each fourth update, 12 seconds apart; the time left comes from 3 seconds for 100 steps.
    assert len(lines) == 14
    assert lines[0] == "step 100/5,000 (2 %)  epoch 0.2  loss 0.312  accuracy 91.2 %  8,412 img/s"
    assert lines[6] == "step 2,500/5,000 (50 %)  epoch 5.0  loss 0.312  accuracy 91.2 %  8,412 img/s  1 min 15 s left"
    assert lines[-1] == "step 5,000/5,000 (100 %)  epoch 10.0  loss 0.312  accuracy 91.2 %  8,412 img/s"


def test_closing_early_shows_the_last_state() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = TrainingProgress(5000, 40, stream, terminal=False, clock=clock)
    for step in (41, 42, 43):
        progress.update(step, 0.1, 2.0, 0.1, 10.0)
        clock.now += 2.0
    progress.close()
    progress.close()
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["41/5,000", "43/5,000"]


def test_messages_are_lines_of_their_own() -> None:
    stream = io.StringIO()
    progress = TrainingProgress(10, 0, stream, terminal=False)
    progress.message("checkpoint at step 5")
    assert stream.getvalue() == "checkpoint at step 5\n"


def test_the_bar_shows_the_state_and_leaves_messages_whole() -> None:
    stream = io.StringIO()
    progress = TrainingProgress(200, 50, stream, terminal=True)
    progress.update(100, 2.4, 0.3123, 0.9123, 8412.4)
    progress.message("checkpoint at step 100")
    progress.update(200, 4.8, 0.25, 0.95, 8412.4)
    progress.close()
    shown = stream.getvalue()
    assert "\rcheckpoint at step 100\n" in shown
    last = shown.rstrip("\n").split("\r")[-1]
    assert last.startswith("100 %|")
    assert "200/200" in last
    assert "epoch 4.8  loss 0.250  acc 95.0 %  8,412 img/s" in last


def test_the_terminal_is_found_and_the_environment_overrules_it() -> None:
    master, slave = pty.openpty()
    with os.fdopen(master), os.fdopen(slave, "w") as terminal:
        assert has_terminal(terminal, {}, launched=False)
        assert not has_terminal(terminal, {}, launched=True)
        assert not has_terminal(terminal, {"CNN_PROGRESS": "lines"}, launched=False)
    assert not has_terminal(io.StringIO(), {}, launched=False)
    assert has_terminal(io.StringIO(), {"CNN_PROGRESS": "bar"}, launched=True)
