import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnn.monitoring.events import EventWriter

from .tensorboard_server import get_when, tensorboard


def write_run(folder: Path) -> None:
    """A run that went on to step 60 after its checkpoint at 40, died in a write, and was resumed."""
    first = EventWriter(folder, resume_step=None)
    for step in (10, 20, 30, 40, 50, 60):
        first.scalars("train", step, {"loss": step / 100, "learning_rate": 0.5})
        if step % 20 == 0:
            first.scalars("validation", step, {"loss": step / 10, "accuracy": 0.25})
    first.close()
    file = next((folder / "train").iterdir())
    file.write_bytes(file.read_bytes() + b"\x20\0\0")
    second = EventWriter(folder, resume_step=40)
    second.scalars("train", 50, {"loss": 0.75, "learning_rate": 0.125})
    second.scalars("train", 60, {"loss": 0.875, "learning_rate": 0.125})
    second.scalars("validation", 60, {"loss": 8.0, "accuracy": 0.5})
    second.scalars("test", 60, {"loss": 9.0, "accuracy": 0.625})
    second.close()


# "true" and "false" choose between TensorBoard's two readers, in Rust and in Python, which drop steps differently.
@pytest.mark.parametrize("fast", ["true", "false"])
def test_tensorboard_shows_each_step_of_a_resumed_run_once(tmp_path: Path, fast: str) -> None:
    write_run(tmp_path / "runs" / "x" / "events")
    with tensorboard(tmp_path / "runs", "--load_fast", fast) as (process, address):
        plugin = f"{address}/data/plugin/scalars"
        tags = get_when(process, f"{plugin}/tags", ready="x/events/test")
        assert {run: set(of_run) for run, of_run in tags.items()} == {
            "x/events/train": {"loss", "learning_rate"},
            "x/events/validation": {"loss", "accuracy"},
            "x/events/test": {"loss", "accuracy"},
        }
        train = get_when(process, f"{plugin}/scalars?run=x/events/train&tag=loss", ready="0.875")
        assert [point[1:] for point in train] == [
            [10, pytest.approx(0.1)],
            [20, pytest.approx(0.2)],
            [30, pytest.approx(0.3)],
            [40, pytest.approx(0.4)],
            [50, 0.75],
            [60, 0.875],
        ]
        validation = get_when(process, f"{plugin}/scalars?run=x/events/validation&tag=loss", ready="8.0")
        assert [point[1:] for point in validation] == [[20, 2.0], [40, 4.0], [60, 8.0]]
        test = get_when(process, f"{plugin}/scalars?run=x/events/test&tag=accuracy", ready="0.625")
        assert [point[1:] for point in test] == [[60, 0.625]]


def test_resuming_drops_later_steps_before_any_new_one(tmp_path: Path) -> None:
    first = EventWriter(tmp_path, resume_step=None)
    for step in (10, 20, 21, 30):
        first.scalars("train", step, {"loss": 1.0})
        first.scalars("validation", step, {"loss": 2.0})
    first.close()
    EventWriter(tmp_path, resume_step=20).close()
    for part in ("train", "validation"):
        accumulator = EventAccumulator(str(tmp_path / part), purge_orphaned_data=True).Reload()
        assert [event.step for event in accumulator.Scalars("loss")] == [10, 20]


def test_flush_makes_points_readable_while_the_run_goes_on(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path, resume_step=None)
    writer.scalars("train", 1, {"loss": 1.5})
    writer.flush()
    accumulator = EventAccumulator(str(tmp_path / "train")).Reload()
    assert [event.value for event in accumulator.Scalars("loss")] == [1.5]
    writer.close()


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tset"):
        EventWriter(tmp_path, resume_step=None).scalars("tset", 1, {"loss": 1.0})


def test_writing_events_does_not_load_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from cnn.monitoring.events import EventWriter\n"
        "writer = EventWriter(pathlib.Path(sys.argv[1]), None); writer.scalars('train', 1, {'loss': 1.0})\n"
        "writer.close(); sys.exit('tensorflow' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code, tmp_path], cwd=root, check=False).returncode == 0
