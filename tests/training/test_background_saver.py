"""Saving in a thread of its own."""

from pathlib import Path

import numpy as np
import pytest

from cnn.errors import RunError
from cnn.training.background_saver import BackgroundSaver
from cnn.training.checkpoints import CheckpointFolder, load_checkpoint


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
    folder, state = CheckpointFolder(tmp_path / "checkpoints"), {"a": np.ones(3)}
    in_the_way = folder.path(2)
    in_the_way.mkdir(parents=True)
    with BackgroundSaver(folder) as saver:
        for step in (1, 2):
            saver.save(step, state, {}, best=False)
        with pytest.raises(RunError, match="could not be written"):
            saver.wait()
        saver.save(2, state, {}, best=False)
        saver._thread.submit(in_the_way.rmdir).result()
        saver.save(3, state, {}, best=False)
        saver.wait()
        assert folder.steps() == [1, 3]


def test_two_failures_in_a_row_end_the_run(tmp_path: Path) -> None:
    folder, state = CheckpointFolder(tmp_path / "checkpoints"), {"a": np.ones(3)}
    folder.path(1).mkdir(parents=True)
    folder.path(2).mkdir()
    with BackgroundSaver(folder) as saver:
        saver.save(1, state, {}, best=False)
        with pytest.raises(RunError, match="step-000000002.npz could not be written"):
            saver.save(2, state, {}, best=False)
