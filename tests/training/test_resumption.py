"""Resuming from a checkpoint that no run has written, and for fewer steps than are done."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.cluster.collectives import Cluster
from cnn.cluster.exchange_choice import Rates
from cnn.errors import UserError
from cnn.training.checkpoint_record import check_record
from cnn.training.checkpoints import Checkpoint, CheckpointFolder, save_checkpoint
from cnn.training.loop import Progress
from cnn.training.resumption import best_checkpoint, check_length
from cnn.training.settings import RunSettings, TrainingSettings, parse_settings
from cnn.training.start import Start
from tests.hostile import JSON, altered_json, examples, read_or_sentence

RATES = Rates(latency=1e-4, sent_per_second=1e9, gathered_per_second=1e9, multiply_adds_per_second=1e11)
RECORD = {
    "data_checksum": "abc",
    "exchange": {"world_size": 2, "factored": [], "rates": dataclasses.asdict(RATES)},
    "progress": dataclasses.asdict(Progress(step=9, best_step=7, pending=[[0.5, 1.0, 1.0]])),
}


def checked(folder: CheckpointFolder) -> Checkpoint:
    """The last checkpoint, as a run that is resumed takes it."""
    checkpoint, _ = folder.load_last()
    assert checkpoint is not None
    check_record(checkpoint)
    return checkpoint


@examples(100)
@given(altered_json(RECORD) | st.dictionaries(st.sampled_from(sorted(RECORD)), JSON))
def test_any_record_is_resumed_from_or_is_one_sentence(tmp_path: Path, record: dict) -> None:
    folder = CheckpointFolder(tmp_path)
    save_checkpoint(folder.path(9), {"a": np.zeros(1)}, record)
    checkpoint = read_or_sentence(lambda: checked(folder), str(folder.path(9)), UserError)
    if checkpoint is not None:
        assert Progress(**checkpoint.record["progress"]).step >= 0
        rates = (checkpoint.record.get("exchange") or {}).get("rates")
        assert rates is None or Rates(**rates).latency + 0.0 is not None


def test_a_best_checkpoint_that_no_run_has_written(cluster: Cluster, tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for progress in (None, 3, {}, {"step": "9"}, {"step": 9, "speed": 3}):
        save_checkpoint(folder.best, {"a": np.zeros(1)}, {**RECORD, "progress": progress})
        found = read_or_sentence(lambda: best_checkpoint(cluster, folder), str(folder.best), UserError)
        assert (found is None) == (progress != {})


def test_a_run_is_not_made_shorter_than_it_is(cluster: Cluster) -> None:
    folder, checkpoint = Path("runs/a"), Checkpoint(path=Path("a.npz"), arrays={}, record=RECORD)

    def total(checkpoint: Checkpoint | None = checkpoint, **length: int) -> int:
        settings = parse_settings("", TrainingSettings, [])
        start = Start(how="resumed", folder=folder, settings=settings, checkpoint=checkpoint)
        return check_length(cluster, start, RunSettings(**length), steps_per_epoch=4)

    assert (total(steps=9), total(epochs=3), total(epochs=1, steps=10)) == (9, 12, 10)
    assert total(checkpoint=None, steps=3) == 3
    with pytest.raises(
        UserError, match=r"runs/a has done 9 steps \(2.25 epochs\), and --epochs 2 is 8: give --epochs 3"
    ):
        total(epochs=2)
    with pytest.raises(UserError, match=r"runs/a has done 9 steps .*, and --steps 8 is less: give --steps 9 or more"):
        total(steps=8)


@pytest.mark.parametrize(
    "changed",
    [
        {"step": 10**18},
        {"step": -1, "best_step": None},
        {"best_step": 10},
        {"best_step": -1},
        {"evaluated_step": 10},
        {"best_correct": -2},
        {"best_loss": float("nan")},
        {"images": -1},
        {"training_seconds": float("inf")},
        {"pending": [[0.5, 1.0]]},
        {"pending": [[0.5, 1.0, 1.0, 1.0]]},
        {"pending": [[0.5, float("nan"), 1.0]]},
    ],
    ids=str,
)
def test_progress_that_no_run_has_made(tmp_path: Path, changed: dict) -> None:
    folder = CheckpointFolder(tmp_path)
    save_checkpoint(folder.path(9), {"a": np.zeros(1)}, {**RECORD, "progress": {**RECORD["progress"], **changed}})
    with pytest.raises(UserError, match="holds what no run has saved"):
        checked(folder)


@pytest.mark.parametrize(
    "changed", [{"sent_per_second": 0.0}, {"gathered_per_second": 1e-300}, {"latency": float("nan")}], ids=str
)
def test_rates_that_nobody_has_measured(tmp_path: Path, changed: dict) -> None:
    folder = CheckpointFolder(tmp_path)
    exchange = {**RECORD["exchange"], "rates": {**RECORD["exchange"]["rates"], **changed}}
    save_checkpoint(folder.path(9), {"a": np.zeros(1)}, {**RECORD, "exchange": exchange})
    with pytest.raises(UserError, match="a rate in it cannot be one that was measured"):
        checked(folder)
