"""Resuming from a checkpoint that no run has written, and for fewer steps than are done."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.cluster.exchange.exchange_cost import Rates
from cnn.cluster.ranks.collectives import Cluster
from cnn.errors import UserError
from cnn.runs.checkpoint_record import check_record
from cnn.runs.checkpoints import Checkpoint, CheckpointFolder, save_checkpoint
from cnn.runs.loop_state import LoopState
from cnn.runs.resumption import best_checkpoint, check_length
from cnn.runs.start import Start
from cnn.settings.settings import RunSettings, TrainingSettings, parse_settings
from tests.hostile import JSON, altered_json, examples, read_or_sentence

RATES = Rates(latency=1e-4, sent_per_second=1e9, gathered_per_second=1e9, multiply_adds_per_second=1e11)
PENDING = {
    "loss": {"sums": [0.5], "samples": [2]},
    "accuracy": {"sums": [1], "samples": [2]},
    "class_accuracy": {"sums": [1, 0], "samples": [1, 1]},
    "one that is no longer in the table": {"sums": [0.25], "samples": [2]},
}
PROGRESS = {
    **LoopState(step=9, best_step=7, best={"accuracy": 51, "loss": 0.5}).record(), "pending": PENDING,
}  # fmt: skip
PROGRESS_BY_PLACE = {
    "step": 9,
    "best_step": 7,
    "best_correct": 51,
    "best_loss": 0.5,
    "evaluated_step": 0,
    "training_seconds": 0.5,
    "images": 100,
    "pending": [[0.1, 1, 2], [0.2, 0, 2], [0.3, 2, 2]],
}
"""As runs had it when metrics had places instead of names."""

RECORD = {
    "data_checksum": "abc",
    "exchange": {"world_size": 2, "factored": [], "rates": dataclasses.asdict(RATES)},
    "progress": PROGRESS,
}


def checked(folder: CheckpointFolder) -> Checkpoint:
    """The last checkpoint, as a run that is resumed takes it."""
    checkpoint, _ = folder.load_last()
    assert checkpoint is not None
    check_record(checkpoint)
    return checkpoint


@examples(100)
@given(
    altered_json(RECORD)
    | altered_json({**RECORD, "progress": PROGRESS_BY_PLACE})
    | st.dictionaries(st.sampled_from(sorted(RECORD)), JSON)
)
def test_any_record_is_resumed_from_or_is_one_sentence(tmp_path: Path, record: dict) -> None:
    folder = CheckpointFolder(tmp_path)
    save_checkpoint(folder.path(9), {"a": np.zeros(1)}, record)
    checkpoint = read_or_sentence(lambda: checked(folder), str(folder.path(9)), UserError)
    if checkpoint is not None:
        state = LoopState.from_record(checkpoint.record["progress"])
        assert state.step >= 0
        assert all(math.isfinite(total.mean) for name, total in state.pending.items() if name != "loss")
        assert LoopState.from_record(state.record()).record() == state.record()
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
        UserError, match=r"runs/a has done 9 steps \(2.25 epochs\), but --epochs 2 is 8: give --epochs 3"
    ):
        total(epochs=2)
    with pytest.raises(UserError, match=r"runs/a has done 9 steps .*, but --steps 8 is less: give --steps 9 or more"):
        total(steps=8)


IN_ALL = [
    {"step": 10**18},
    {"step": -1, "best_step": None},
    {"best_step": 10},
    {"best_step": -1},
    {"evaluated_step": 10},
    {"images": -1},
    {"training_seconds": float("inf")},
]
OF_NAMES = [
    {"best": {"accuracy": -1, "loss": 0.5}},
    {"best": {"accuracy": 0.5, "loss": 0.5}},
    {"best": {"accuracy": 51, "loss": float("nan")}},
    {"best": {"accuracy": 51}},
    {"best": {"accuracy": 51, "loss": 0.5, "speed": 3.0}},
    {"pending": {"loss": [0.5, 2]}},
    {"pending": {"loss": {"sums": [], "samples": []}}},
    {"pending": {"loss": {"sums": [0.5], "samples": [1, 1]}}},
    {"pending": {"loss": {"sums": [0.5, 0.5], "samples": [1, 1]}}},
    {"pending": {"loss": {"sums": [0.5], "samples": [0]}}},
    {"pending": {"loss": {"sums": [0.5], "samples": [10**17]}}},
    {"pending": {"accuracy": {"sums": [float("nan")], "samples": [2]}}},
    {"pending": {"accuracy": {"sums": [0.5], "samples": [2]}}},
    {"pending": {"accuracy": {"sums": [3], "samples": [2]}}},
    {"pending": {"class_accuracy": {"sums": [1, -1], "samples": [1, 1]}}},
]
OF_PLACES = [
    {"best_correct": -2},
    {"best_loss": float("nan")},
    {"pending": [[0.5, 1.0]]},
    {"pending": [[0.5, 1.0, 1.0, 1.0]]},
    {"pending": [[0.5, float("nan"), 1.0]]},
    {"pending": [[0.5, 1.0, float("inf")]]},
]


@pytest.mark.parametrize(
    ("progress", "changed"),
    [(PROGRESS, changed) for changed in IN_ALL + OF_NAMES] + [(PROGRESS_BY_PLACE, each) for each in IN_ALL + OF_PLACES],
    ids=str,
)
def test_a_loop_state_that_no_run_has_made(tmp_path: Path, progress: dict, changed: dict) -> None:
    folder = CheckpointFolder(tmp_path)
    save_checkpoint(folder.path(9), {"a": np.zeros(1)}, {**RECORD, "progress": {**progress, **changed}})
    with pytest.raises(UserError, match="was not saved by a run"):
        checked(folder)


def test_a_stored_loop_state_is_restored() -> None:
    state = LoopState.from_record(json.loads(json.dumps(PROGRESS)))
    assert state.pending.keys() == {"loss", "accuracy", "class_accuracy"}
    assert state.pending["accuracy"].sums.dtype == np.int64
    known = {name: PENDING[name] for name in state.pending}
    text = json.dumps({**PROGRESS, "pending": known}, sort_keys=True)
    assert json.dumps(state.record(), sort_keys=True) == text  # whole numbers are still written as such


def test_a_loop_state_stored_before_metrics_had_names() -> None:
    state = LoopState.from_record(json.loads(json.dumps(PROGRESS_BY_PLACE)))
    assert (state.step, state.best_step, state.best) == (9, 7, {"accuracy": 51, "loss": 0.5})
    assert (state.training_seconds, state.images) == (0.5, 100)
    assert {name: (total.sums.tolist(), total.samples.tolist()) for name, total in state.pending.items()} == {
        "loss": ([0.1 + 0.2 + 0.3], [6]),
        "accuracy": ([3], [6]),
    }
    first = {**PROGRESS_BY_PLACE, "best_step": None, "best_correct": -1, "best_loss": float("inf"), "pending": []}
    assert (LoopState.from_record(first).best, LoopState.from_record(first).pending) == ({}, {})


@pytest.mark.parametrize(
    "changed", [{"sent_per_second": 0.0}, {"gathered_per_second": 1e-300}, {"latency": float("nan")}], ids=str
)
def test_rates_that_nobody_has_measured(tmp_path: Path, changed: dict) -> None:
    folder = CheckpointFolder(tmp_path)
    exchange = {**RECORD["exchange"], "rates": {**RECORD["exchange"]["rates"], **changed}}
    save_checkpoint(folder.path(9), {"a": np.zeros(1)}, {**RECORD, "exchange": exchange})
    with pytest.raises(UserError, match="a rate in it cannot have been measured"):
        checked(folder)
