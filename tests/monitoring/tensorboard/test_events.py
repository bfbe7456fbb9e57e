import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnn.monitoring.tensorboard import events
from cnn.monitoring.tensorboard.event_values import charts, table, text
from cnn.monitoring.tensorboard.events import EventWriter

from ...fresh_process import loads
from ..tensorboard_server import get_when, tensorboard


def write_run(folder: Path) -> None:
    """A run that went on to step 60 after its checkpoint at 40, died in a write, and was resumed."""
    folder.mkdir(parents=True)
    first = EventWriter(folder, resume_step=None)
    for step in (10, 20, 30, 40, 50, 60):
        first.scalars(step, {"loss/train": step / 100, "learning_rate": 0.5})
        if step % 20 == 0:
            first.scalars(step, {"loss/validation": step / 10, "accuracy/validation": 0.25})
    first.close()
    file = next(folder.iterdir())
    file.write_bytes(file.read_bytes() + b"\x20\0\0")
    second = EventWriter(folder, resume_step=40)
    second.scalars(50, {"loss/train": 0.75, "learning_rate": 0.125})
    second.scalars(60, {"loss/train": 0.875, "learning_rate": 0.125})
    second.scalars(60, {"loss/validation": 8.0, "accuracy/validation": 0.5})
    second.scalars(60, {"loss/test": 9.0, "accuracy/test": 0.625})
    second.close()


# "true" and "false" choose between TensorBoard's two readers, in Rust and in Python, which drop steps differently.
@pytest.mark.parametrize("fast", ["true", "false"])
def test_tensorboard_shows_each_step_of_a_resumed_run_once(tmp_path: Path, fast: str) -> None:
    write_run(tmp_path / "runs" / "x")
    with tensorboard(tmp_path / "runs", "--load_fast", fast) as (process, address):
        plugin = f"{address}/data/plugin/scalars"
        tags = get_when(process, f"{plugin}/tags", ready="accuracy/test")
        assert {run: set(of_run) for run, of_run in tags.items()} == {
            "x": {
                *("loss/train", "learning_rate", "loss/validation", "accuracy/validation"),
                *("loss/test", "accuracy/test"),
            }
        }
        train = get_when(process, f"{plugin}/scalars?run=x&tag=loss/train", ready="0.875")
        assert [point[1:] for point in train] == [
            [10, pytest.approx(0.1)],
            [20, pytest.approx(0.2)],
            [30, pytest.approx(0.3)],
            [40, pytest.approx(0.4)],
            [50, 0.75],
            [60, 0.875],
        ]
        validation = get_when(process, f"{plugin}/scalars?run=x&tag=loss/validation", ready="8.0")
        assert [point[1:] for point in validation] == [[20, 2.0], [40, 4.0], [60, 8.0]]
        test = get_when(process, f"{plugin}/scalars?run=x&tag=accuracy/test", ready="0.625")
        assert [point[1:] for point in test] == [[60, 0.625]]


def test_resuming_drops_later_steps_before_any_new_one(tmp_path: Path) -> None:
    first = EventWriter(tmp_path, resume_step=None)
    for step in (10, 20, 21, 30):
        first.scalars(step, {"loss/train": 1.0})
        first.scalars(step, {"loss/validation": 2.0})
    first.close()
    EventWriter(tmp_path, resume_step=20).close()
    accumulator = EventAccumulator(str(tmp_path), purge_orphaned_data=True).Reload()
    for part in ("train", "validation"):
        assert [event.step for event in accumulator.Scalars(f"loss/{part}")] == [10, 20]


def test_points_become_readable_while_the_run_goes_on(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path, resume_step=None)
    writer.scalars(1, {"loss/train": 1.5})
    writer.flush()
    accumulator = EventAccumulator(str(tmp_path)).Reload()
    assert [event.value for event in accumulator.Scalars("loss/train")] == [1.5]
    writer.close()


def test_a_folder_that_cannot_be_written_is_told_of_once_and_delays_nobody(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "gone", resume_step=None)
    writer.scalars(1, {"loss/train": 1.5})
    writer.flush()
    assert writer.problem() == (
        f"{tmp_path}/gone cannot be written (No such file or directory): TensorBoard will not show the rest of this run"
    )
    assert writer.problem() is None
    for step in range(2 * events._MAX_WAITING):  # more than wait for a disk
        writer.scalars(step, {"loss/train": 1.5})
    writer.flush()
    writer.close()
    assert writer.problem() is None


def test_a_disk_that_becomes_full_in_mid_run_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.0000000001"
    writer = EventWriter(tmp_path, resume_step=None)
    writer.flush()
    full = os.open("/dev/full", os.O_WRONLY)
    for descriptor in os.listdir("/proc/self/fd"):
        if os.path.realpath(f"/proc/self/fd/{descriptor}") == str(path):
            os.dup2(full, int(descriptor))
    os.close(full)
    writer.scalars(1, {"loss/train": 1.5})
    writer.flush()
    assert "No space left on device" in (writer.problem() or "")
    writer.close()


def test_training_does_not_wait_for_a_disk(tmp_path: Path) -> None:
    hangs, resumes = threading.Event(), threading.Event()

    def hang() -> list[object]:
        hangs.set()
        resumes.wait()
        return []

    writer = EventWriter(tmp_path, resume_step=None)
    writer.add(0, hang)
    hangs.wait()  # else it takes a place among those that wait, until the thread begins
    for step in range(2 * events._MAX_WAITING):
        writer.scalars(step, {"loss/train": 1.5})
    assert writer.problem() == f"{tmp_path} is written too slowly: TensorBoard will not show all of this run"
    resumes.set()
    writer.close()
    points = EventAccumulator(str(tmp_path), {"scalars": 0}).Reload().Scalars("loss/train")
    assert [point.step for point in points] == list(range(events._MAX_WAITING))


def test_a_mistake_in_the_code_is_not_hidden_in_the_background(tmp_path: Path) -> None:
    def fail() -> list[object]:
        raise ZeroDivisionError

    writer = EventWriter(tmp_path, resume_step=None)
    writer.add(0, fail)
    writer.flush()
    with pytest.raises(ZeroDivisionError):
        writer.scalars(1, {})
    writer.close()


def test_texts_and_charts_are_what_the_plugins_read(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    writer = EventWriter(folder, None)
    for tag in ("loss/train", "loss/validation"):
        writer.scalars(1, {tag: 1.0})
    writer.add(0, lambda: [text("settings", table(("name", "value"), [("a_b|c\n", "*d*")]))])
    writer.add(0, lambda: [charts({"parts": {"loss": ("loss/train", "loss/validation")}})])
    writer.close()
    with tensorboard(tmp_path) as (process, address):
        ready: Callable[..., object] = lambda url, ready: get_when(process, f"{address}/data/plugin/{url}", ready)  # noqa: E731
        shown = ready("text/text?run=x&tag=settings", "a_b|c")[0]["text"]
        assert "<td>a_b|c\\n</td>\n<td>*d*</td>" in shown
        layout = ready("custom_scalars/layout", "parts")
        (chart,) = layout["category"][0]["chart"]
        (first, second) = chart["multiline"]["tag"]
        for tag, pattern in (("loss/train", first), ("loss/validation", second)):
            found = ready(f"custom_scalars/scalars?run=x&tag={pattern.replace('^', '%5E')}", "regex_valid")
            assert found["regex_valid"]
            assert found["tag_to_events"].keys() == {tag}


def test_writing_events_does_not_load_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from cnn.monitoring.tensorboard.events import EventWriter\n"
        "from cnn.monitoring.tensorboard.event_values import *\n"
        "writer = EventWriter(pathlib.Path(sys.argv[1]), None); writer.scalars(1, {'loss/train': 1.0})\n"
        "writer.add(1, lambda: [text('a', 'b'), charts({'a': {'b': ['c']}})])\n"
        "writer.close()"
    )
    assert not loads("tensorflow", code, tmp_path)
