"""Saving in a thread of its own."""

from pathlib import Path

import numpy as np

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
