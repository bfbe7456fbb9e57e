"""A reproducible run ends with the same bits, however many workers each of its starts had."""

from pathlib import Path

import numpy as np

from cnn.runs.checkpoints import CheckpointFolder

SETTINGS = ("--data", "digits", "--model", "lenet5-like", "--reproducible", "--group_size", 8)
LENGTH = ("--global_batch_size", 100, "--save_every", 4, "--optimizer", "adam", "--average_decay", 0.9)


def last_state(folder: Path) -> dict[str, np.ndarray]:
    checkpoint, damage = CheckpointFolder(folder / "checkpoints").load_last()
    assert checkpoint is not None
    assert not damage
    return checkpoint.arrays


def test_resumed_by_other_numbers_of_workers_in_mid_epoch(jobs, tmp_path: Path) -> None:
    """An epoch has 13 steps of 13 groups, the last of 4 samples, and one of fewer groups."""
    undisturbed, resumed = tmp_path / "undisturbed", tmp_path / "resumed"
    code, output = jobs.run("jobs/train.py", *SETTINGS, *LENGTH, "--run_dir", undisturbed, "--steps", 20)
    assert code == 0, output
    for steps, workers, more in ((6, 3, ()), (12, 1, ("--resume",)), (20, 2, ("--resume",))):
        launcher = "none" if workers == 1 else "mpirun"
        arguments = (*SETTINGS, *LENGTH, "--run_dir", resumed, "--steps", steps, *more)
        code, output = jobs.run("jobs/train.py", *arguments, launcher=launcher, workers=workers)
        assert code == 0, output
        assert "same bits" not in output, output
    one, other = last_state(undisturbed), last_state(resumed)
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert values.tobytes() == other[name].tobytes(), name
