import os
import pty
import sys

import pytest

from cnn.data.store.work_progress import IMAGES, MEGABYTES, WorkProgress

from ..conftest import read_terminal


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_line_comes_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = _Clock()
    progress = WorkProgress("preparing mine", done=2000, total=5000, unit=IMAGES, clock=clock)
    for _ in range(8):
        clock.now += 4
        progress.add(128)
    progress.close()
    assert progress.seconds == 32
    output, error = capsys.readouterr()
    assert output == ""
    assert error.splitlines() == [
        "preparing mine: resuming after 2,000 of 5,000 images",
        "preparing mine: 2,384 of 5,000 images, 32 images a second, 1 min 22 s left",
        "preparing mine: 2,768 of 5,000 images, 32 images a second, 1 min 10 s left",
        "preparing mine: 3,024 of 5,000 images, 32 images a second, 1 min 2 s left",
    ]


def test_bytes_are_shown_as_megabytes_and_a_total_need_not_be_known(capsys: pytest.CaptureFixture[str]) -> None:
    clock = _Clock()
    progress = WorkProgress("downloading it", done=0, total=None, unit=MEGABYTES, clock=clock)
    clock.now += 10
    progress.add(12_340_000)
    assert capsys.readouterr().err == "downloading it: 12.3 MB, 1.2 MB a second\n"


def test_quick_work_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    for done in (0, 100):  # all is done already
        progress = WorkProgress("preparing mine", done=done, total=100, unit=IMAGES)
        progress.add(100 - done)
        progress.close()
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        progress = WorkProgress("preparing mine", done=200, total=500, unit=IMAGES)
        progress.add(300)
        progress.close()
    shown = read_terminal(master)
    _, bar, *_ = shown.split("\r")
    assert bar.startswith("100 % |")
    assert "preparing mine: 500 of 500 images  " in bar
    assert bar.rstrip().endswith(" a second")
    assert len(bar) == 79  # though this terminal says that it has no width
