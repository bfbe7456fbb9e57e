import io
import re

import pytest

from cnn.monitoring.terminal.training_progress import Score, TrainingProgress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


SCORE, VALIDATION = Score(0.3123, 0.9123), Score(0.4012, 0.8891)


def progress_of(
    stream: io.StringIO, clock: Clock, *, total: int = 5000, start: int = 0, terminal: bool = False
) -> TrainingProgress:
    return TrainingProgress(total, start, 500, stream, terminal=terminal, clock=clock)


def test_lines_are_the_first_the_last_and_one_every_ten_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = progress_of(stream, clock)
    for step in range(100, 5001, 100):
        progress.update(step, SCORE, 8412.4)
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
    progress = progress_of(stream, clock, start=40)
    for step in (41, 42, 43):
        progress.update(step, SCORE, 10.0)
        clock.now += 2.0
    progress.close()
    progress.close()
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["41/5,000", "43/5,000"]


def test_messages_are_lines_of_their_own() -> None:
    stream = io.StringIO()
    progress_of(stream, Clock()).message("checkpoint at step 5")
    assert stream.getvalue() == "checkpoint at step 5\n"


def test_an_epoch_is_a_line_with_both_parts_and_the_best_is_marked() -> None:
    stream = io.StringIO()
    progress = progress_of(stream, Clock())
    progress.epoch(500, SCORE, VALIDATION, best=True)
    progress.epoch(5000, SCORE, VALIDATION, best=False)
    progress.epoch(5000, SCORE, None, best=False)
    progress.epoch(5000, None, VALIDATION, best=False)  # whose steps an earlier process has taken
    training, validation = "loss 0.312  accuracy  91.2 %", "validation loss 0.401  accuracy  88.9 %"
    assert stream.getvalue().splitlines() == [
        f"epoch  1/10  {training}  {validation}  best so far",
        f"epoch 10/10  {training}  {validation}",
        f"epoch 10/10  {training}",
        f"epoch 10/10  {validation}",
    ]


@pytest.mark.parametrize("columns", [46, 60, 80, 120])
def test_nothing_is_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream, clock = io.StringIO(), Clock()
    progress = progress_of(stream, clock, start=50, terminal=True)
    progress.wait("compiling the first step")
    progress.update(100, SCORE, 8412.4)
    clock.now += 3.0
    progress.update(2400, SCORE, 8412.4)
    progress.epoch(2500, SCORE, VALIDATION, best=True)
    progress.update(5000, SCORE, 8412.4)
    progress.close()
    shown = [piece.rstrip() for piece in re.split("[\r\n]+", stream.getvalue()) if piece.strip()]
    assert max(map(len, shown)) <= columns
    assert shown[0] == "compiling the first step 0 s"
    bars = [piece for piece in shown if "%" in piece[:6]]
    assert [piece.partition("|")[0] for piece in bars] == ["  2 % ", " 48 % ", " 48 % ", "100 % "]
    assert all("epoch" in piece for piece in bars)
    assert "3 s left" in bars[1]
    assert ("loss 0.312" in bars[1]) == (columns >= 60)
    assert ("8,412 img/s" in bars[1]) == (columns >= 80)
    assert len({piece.rindex("|") for piece in bars}) == 1
    epochs = {
        46: "epoch  5 0.312  91.2 % val 0.401  88.9 % best",
        60: "epoch  5  loss 0.312  acc  91.2 %  val 0.401   88.9 %  best",
        120: "epoch  5/10  loss 0.312  accuracy  91.2 %  validation loss 0.401  accuracy  88.9 %  best so far",
    }
    assert epochs[min(columns, 60) if columns < 95 else 120] in shown


def test_the_bar_is_passed_on_by_launchers_that_wait_for_the_end_of_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """They put a prefix in front of each line or bar, and take a carriage return for its end."""
    monkeypatch.setenv("COLUMNS", "60")
    stream = io.StringIO()
    progress = progress_of(stream, Clock(), terminal=True)
    progress.update(100, SCORE, None)
    before, bar, end = stream.getvalue().split("\r")
    assert (before, len(bar), end) == ("", 59, "")
    progress.message("checkpoint at step 100")
    assert stream.getvalue() == f"\r{bar}\r\r{'checkpoint at step 100':59}\n\r{bar}\r"
