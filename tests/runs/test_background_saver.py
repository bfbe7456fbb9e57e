"""Saving in a thread of its own."""

from pathlib import Path

import numpy as np
import pytest

from cnn.errors import RunError
from cnn.runs.background_saver import BackgroundSaver
from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint


def test_what_is_saved_is_the_state_of_then(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    weights, count = np.zeros(2_000_000, np.float32), np.zeros((), np.int64)
    state = {"weights": weights, "count": count}
    with BackgroundSaver(folder) as saver:
        saver.hold(state)
        for step in (1, 2):
            weights[:], count[...] = step, step
            saver.save(step, state, {"step": step}, best=step == 1)
        weights[:], count[...] = 9, 9  # while the last is being written
    for path, step in ((folder.path(1), 1), (folder.path(2), 2), (folder.best, 1)):
        arrays, record = load_checkpoint(path)
        assert record["step"] == step
        assert (arrays["weights"] == step).all()
        assert arrays["count"] == step
        assert arrays["count"].shape == ()


def test_a_disk_that_is_full_for_a_while_ends_nothing(tmp_path: Path) -> None:
    """And what could not be written then is made up for: it may be the best of all."""
    folder, weights = CheckpointFolder(tmp_path / "checkpoints"), np.zeros(3)
    in_the_way = folder.path(2)
    in_the_way.mkdir(parents=True)
    with BackgroundSaver(folder) as saver:
        for step in (1, 2):
            weights[:] = step
            saver.save(step, {"weights": weights}, {"step": step}, best=True)
        saver._thread.submit(in_the_way.rmdir).result()
        weights[:] = 3
        saver.save(3, {"weights": weights}, {"step": 3}, best=False)
    assert folder.steps() == [2, 3]
    for path, step in ((folder.path(2), 2), (folder.path(3), 3), (folder.best, 2)):
        arrays, record = load_checkpoint(path)
        assert record["step"] == step
        assert (arrays["weights"] == step).all()


@pytest.mark.parametrize("more", [True, False])
def test_one_that_cannot_be_written_the_second_time_either_ends_the_run(tmp_path: Path, more: bool) -> None:
    folder, state = CheckpointFolder(tmp_path / "checkpoints"), {"a": np.ones(3)}
    folder.path(1).mkdir(parents=True)
    with (
        pytest.raises(RunError, match="step-000000001.npz could not be written"),
        BackgroundSaver(folder) as saver,
    ):
        saver.save(1, state, {}, best=False)
        if more:
            saver.save(2, state, {}, best=False)
