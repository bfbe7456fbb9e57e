"""The loop: which evaluation is the best, when it saves, and that going on is as if it had not stopped."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn.cluster.exchange.exchange import make_exchange
from cnn.cluster.ranks.collectives import Cluster
from cnn.data.dataset import Part
from cnn.data.feed.feed import Feed
from cnn.data.order import SampleOrder
from cnn.errors import RunError
from cnn.learner.evaluation import Evaluation, Evaluator, Soundness
from cnn.learner.state import restore_state, state_variables
from cnn.learner.step import TrainingStep
from cnn.learner.totals import Total, Totals
from cnn.monitoring.timing.stopwatch import Stopwatch
from cnn.optim.optimizers import OptimizerSettings, build_optimizer
from cnn.optim.regularisation import RegularisationSettings
from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint
from cnn.runs.loop import Commit, Loop
from cnn.runs.loop_state import LoopState
from cnn.runs.step_times import StepTimer
from cnn.runs.timekeeper import Timekeeper

from ..circumstances import ALONE


def totals(correct: int, loss: float) -> Totals:
    """Of an evaluation of 100 samples."""
    samples = np.array([100])
    return {"loss": Total(np.array([loss]) * samples, samples), "accuracy": Total(np.array([correct]), samples)}


def test_more_right_is_better_then_less_loss_and_the_first_of_equals_stays() -> None:
    state = LoopState()
    taken = []
    for step, (correct, loss) in enumerate(
        [(50, 2.0), (49, 0.1), (50, 2.0), (50, 1.9), (51, 9.0), (51, float("inf")), (51, float("nan"))], start=1
    ):
        state.step = step
        taken.append(state.update_best(totals(correct, loss)))
    assert taken == [True, False, False, True, True, False, False]
    assert (state.best_step, state.best) == (5, {"accuracy": 51, "loss": 9.0})


def test_any_evaluation_beats_none() -> None:
    assert LoopState().update_best(totals(0, 1e30))


@pytest.fixture
def make_loop(cluster: Cluster, make_feed, make_network, tmp_path: Path) -> Callable[..., Loop]:
    def make(
        name: str,
        total: int,
        *,
        resume: int | None = None,
        save_every: int | None = None,
        patience: int | None = None,
        rate: float | Callable[[int], float] = 0.01,
        feed: Feed | None = None,
        before_call: Callable[[], None] = lambda: None,
        stop_requested: Callable[[], bool] = lambda: False,
        commit: Commit | None = None,
        validation: bool = True,
    ) -> Loop:
        def rates(first: int, steps: int) -> np.ndarray:
            before_call()
            return np.array([rate(step) if callable(rate) else rate for step in range(first, first + steps)])

        model = make_network("fcnn")
        optimizer = build_optimizer(OptimizerSettings(), RegularisationSettings(), model.trainable_variables)
        variables, feed = state_variables(model, optimizer), feed or make_feed()
        checkpoints, state = CheckpointFolder(tmp_path / name), LoopState()
        if resume is not None:
            arrays, record = load_checkpoint(checkpoints.path(resume))
            restore_state(variables, arrays, name)
            state = LoopState.from_record(record["progress"])
        return Loop(
            cluster=cluster,
            order=SampleOrder(np.arange(200), 60, seed=1),
            training_step=TrainingStep(model, optimizer, feed, make_exchange(cluster), RegularisationSettings()),
            learning_rates=rates,
            variables=variables,
            evaluate=Evaluator(model, feed, np.arange(200, 250), cluster) if validation else None,
            is_sound=Soundness(model, feed, np.arange(200), cluster),
            checkpoints=checkpoints,
            record={},
            report=None,
            timekeeper=Timekeeper(Stopwatch("other"), StepTimer(cluster, ALONE), None),
            state=state,
            total_steps=total,
            log_every=5,
            save_every=save_every,
            patience=patience,
            stop_requested=stop_requested,
            commit=commit,
        )

    return make


def test_saved_at_epochs_ends_and_in_between(make_loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = CheckpointFolder.save

    def listed(self: CheckpointFolder, step: int, *arguments: object, **named: bool) -> None:
        saved.append(step)
        save(self, step, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(CheckpointFolder, "save", listed)
    make_loop("a", 10, save_every=3).run()
    assert saved == [3, 4, 6, 8, 9, 10]  # epochs have four steps
    assert CheckpointFolder(tmp_path / "a").steps() == [9, 10]


@pytest.mark.parametrize("stop", [4, 6])
def test_going_on_gives_the_same_bits(make_loop, tmp_path: Path, stop: int) -> None:
    make_loop("straight", 12, save_every=3).run()
    make_loop("stopped", stop, save_every=3).run()
    make_loop("stopped", 12, resume=stop, save_every=3).run()
    straight, record = load_checkpoint(CheckpointFolder(tmp_path / "straight").path(12))
    again, _ = load_checkpoint(CheckpointFolder(tmp_path / "stopped").path(12))
    assert record["progress"]["step"] == 12
    assert again.keys() == straight.keys()
    for name, values in straight.items():
        assert again[name].tobytes() == values.tobytes(), name


@pytest.mark.parametrize("stop", [3, 4])
def test_stopped_when_asked_it_saves_and_goes_on_with_the_same_bits(make_loop, tmp_path: Path, stop: int) -> None:
    """At step 4 an epoch ends, whose evaluation is then left to the run that goes on."""
    assert make_loop("straight", 8, save_every=1).run() == "ended"
    asked = make_loop("stopped", 8, save_every=1, stop_requested=lambda: asked.state.step == stop - 1)
    assert asked.run() == "stopped"
    checkpoints = CheckpointFolder(tmp_path / "stopped")
    assert checkpoints.steps()[-1] == stop
    assert not checkpoints.best.exists()
    assert make_loop("stopped", 8, resume=stop, save_every=1).run() == "ended"
    for which in ("best", 8):
        straight, record = load_checkpoint(path_of(CheckpointFolder(tmp_path / "straight"), which))
        again, same = load_checkpoint(path_of(checkpoints, which))
        assert {name: values.tobytes() for name, values in again.items()} == {
            name: values.tobytes() for name, values in straight.items()
        }
        for name in ("step", "best_step", "best", "evaluated_step", "pending"):
            assert same["progress"][name] == record["progress"][name]


def path_of(checkpoints: CheckpointFolder, which: int | str) -> Path:
    return checkpoints.best if which == "best" else checkpoints.path(int(which))


def _until(step: int) -> Callable[[int], float]:
    """A rate with which nothing is learned after that step, so that no later evaluation is better."""
    return lambda before: 0.01 if before < step else 0.0


def test_patience_ends_a_run_whose_evaluations_become_no_better(make_loop, tmp_path: Path) -> None:
    loop = make_loop("a", 40, rate=_until(7), patience=3)
    assert loop.run() == "ended"
    checkpoints = CheckpointFolder(tmp_path / "a")
    assert (loop.state.best_step, loop.state.step, checkpoints.steps()) == (8, 20, [16, 20])  # epochs have four steps
    _, best = load_checkpoint(checkpoints.best)
    assert best["progress"]["step"] == 8


@pytest.mark.parametrize("stop", [10, 16])
def test_patience_counts_on_through_a_resume(make_loop, tmp_path: Path, stop: int) -> None:
    """Stopped within an epoch, or at the end of one, which is then still to be evaluated."""
    patient = {"rate": _until(7), "patience": 3, "save_every": 1}
    straight = make_loop("straight", 40, **patient)
    straight.run()
    asked = make_loop("stopped", 40, **patient, stop_requested=lambda: asked.state.step == stop - 1)
    assert asked.run() == "stopped"
    again = make_loop("stopped", 40, resume=stop, **patient)
    assert again.run() == "ended"
    assert (again.state.best_step, again.state.step) == (straight.state.best_step, straight.state.step) == (8, 20)
    once_more = make_loop("stopped", 40, resume=20, **patient)
    assert (once_more.run(), once_more.state.step) == ("ended", 20)  # it has nothing left to do
    longer = make_loop("stopped", 40, resume=20, **(patient | {"patience": 4}))
    assert (longer.run(), longer.state.step) == ("ended", 24)


def test_patience_that_lasts_to_the_end_changes_nothing(make_loop) -> None:
    loop = make_loop("a", 12, patience=3, rate=0.0)
    loop.run()
    assert (loop.state.best_step, loop.state.step) == (4, 12)


def test_patience_does_not_make_a_result_of_what_diverged(make_loop, monkeypatch) -> None:
    sound = iter([True, False])
    monkeypatch.setattr(Soundness, "__call__", lambda _: next(sound))
    with pytest.raises(RunError, match="at step 8 .*: training has diverged"):
        make_loop("a", 40, rate=0.0, patience=1).run()


def test_a_checkpoint_that_cannot_be_written_ends_the_run(make_loop, tmp_path: Path) -> None:
    (tmp_path / "a" / "step-000000004.npz").mkdir(parents=True)
    with pytest.raises(RunError, match="step-000000004.npz could not be written"):
        make_loop("a", 12).run()


def test_what_is_kept_for_a_change_of_workers_knows_of_no_best_that_is_not_written(
    make_loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 0 may be lost at any moment, and what it had still to write with it."""
    monkeypatch.setattr("cnn.runs.loop._COMMIT_SECONDS", float("inf"))  # at the epochs' ends only
    best, known = CheckpointFolder(tmp_path / "a").best, []

    def commit(arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
        _, written = load_checkpoint(best)
        known.append((record["progress"]["best_step"], written["progress"]["best_step"]))

    make_loop("a", 12, commit=commit).run()
    assert len(known) == 3
    assert all(one == other for one, other in known)


def test_what_is_saved_meanwhile_is_the_state_of_that_step(make_loop, tmp_path: Path, monkeypatch) -> None:
    """The steps that follow while a checkpoint is written do not change it."""
    going_on = threading.Event()
    save = CheckpointFolder.save

    def late(self: CheckpointFolder, *arguments: object, **named: bool) -> None:
        assert going_on.wait(60)
        save(self, *arguments, **named)  # type: ignore[arg-type]

    evaluate = Evaluator.__call__

    def after_step_4(self: Evaluator) -> Evaluation:
        going_on.set()
        return evaluate(self)

    monkeypatch.setattr(CheckpointFolder, "save", late)
    monkeypatch.setattr(Evaluator, "__call__", after_step_4)
    make_loop("late", 4, save_every=3).run()
    late_one, _ = load_checkpoint(CheckpointFolder(tmp_path / "late").path(3))
    make_loop("three", 3).run()
    three, _ = load_checkpoint(CheckpointFolder(tmp_path / "three").path(3))
    assert {name: values.tobytes() for name, values in late_one.items()} == {
        name: values.tobytes() for name, values in three.items()
    }


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_streamed_images_give_the_same_bits_and_leave_no_thread(
    make_loop, make_feed, stored: Part, tmp_path: Path
) -> None:
    make_loop("resident", 10).run()
    running: list[list[str]] = []
    before = {"before_call": lambda: running.append(threads())}
    make_loop("streamed", 7, save_every=7, feed=make_feed(stored, 0), **before).run()
    make_loop("streamed", 10, resume=7, feed=make_feed(stored, 0)).run()
    make_loop("streamed", 10, resume=10, feed=make_feed(stored, 0)).run()  # where nothing is left to read
    resident, record = load_checkpoint(CheckpointFolder(tmp_path / "resident").path(10))
    streamed, again = load_checkpoint(CheckpointFolder(tmp_path / "streamed").path(10))
    assert {name: values.tobytes() for name, values in streamed.items()} == {
        name: values.tobytes() for name, values in resident.items()
    }
    for name in ("step", "best_step", "best", "pending"):
        assert again["progress"][name] == record["progress"][name]
    assert threads() == []
    assert running
    assert all(len(each) == 1 for each in running)  # which read ahead


def test_a_file_that_cannot_be_read_ends_the_run(make_loop, make_feed, stored: Part, tmp_path: Path) -> None:
    make_loop("a", 4, feed=make_feed(stored, 0)).run()
    loop = make_loop("a", 40, resume=4, feed=make_feed(stored, 0))
    file = tmp_path / "images.npy"
    content = file.read_bytes()
    os.truncate(file, 20_000)
    try:
        with pytest.raises(RunError, match=r"images.npy can no longer be read \(it has become shorter\)"):
            loop.run()
    finally:
        file.write_bytes(content)  # for pytest, which shows the map when this fails
    assert threads() == []
    assert CheckpointFolder(tmp_path / "a").steps() == [4]


def test_divergence_ends_the_run_and_keeps_the_last_checkpoint(make_loop, tmp_path: Path) -> None:
    loop = make_loop("a", 4)
    loop.run()
    diverging = make_loop("a", 40, resume=4, rate=1e38)
    with pytest.raises(
        RunError, match="the loss is .*, of all workers' samples: training has diverged; .*smaller --learning_rate"
    ) as caught:
        diverging.run()
    assert caught.value.agreed
    arrays, _ = load_checkpoint(CheckpointFolder(tmp_path / "a").path(4))
    assert all(np.isfinite(values).all() for values in arrays.values())


def test_a_run_goes_on_once_it_has_computed_and_before_it_records(make_loop, tmp_path: Path) -> None:
    make_loop("a", 4).run()
    told: list[tuple[int, list[int]]] = []

    def resume(total: int, **more: object) -> Loop:
        loop = make_loop("a", total, save_every=1, resume=CheckpointFolder(tmp_path / "a").steps()[-1], **more)
        loop._on_progress = lambda: told.append((loop.state.step, CheckpointFolder(tmp_path / "a").steps()))
        return loop

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resume(8, before_call=interrupt).run()
    assert told == []
    resume(6).run()
    assert told == [(5, [4])]
    resume(6).run()  # has nothing left to do
    assert told[1:] == [(6, [5, 6])]


def _too_far_in(step: int) -> Callable[[int], float]:
    """A rate with which that step leaves weights that are finite, but overflow when something is computed with them."""
    return lambda before: 1e38 if before + 1 == step else 0.01


@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize(("step", "kept"), [(1, []), (4, []), (6, [4]), (8, [4])])
def test_a_last_step_that_diverges_is_no_result(
    make_loop, tmp_path: Path, step: int, kept: list[int], validation: bool
) -> None:
    loop = make_loop("a", step, rate=_too_far_in(step), validation=validation)
    with pytest.raises(RunError, match=f"at step {step} .*: training has diverged; try a smaller") as caught:
        loop.run()
    assert caught.value.agreed
    assert CheckpointFolder(tmp_path / "a").steps() == kept


@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize("step", [4, 6, 7])
def test_a_step_that_diverges_is_not_saved(make_loop, tmp_path: Path, step: int, validation: bool) -> None:
    """Neither at an epoch's end nor in between; the next step's loss ends the run."""
    with pytest.raises(RunError, match=f"at step {step + 1} the loss is"):
        make_loop("a", 12, rate=_too_far_in(step), save_every=1, validation=validation).run()
    checkpoints = CheckpointFolder(tmp_path / "a")
    assert checkpoints.steps()[-1] == step - 1
    for path in checkpoints.folder.iterdir():
        arrays, _ = load_checkpoint(path)
        assert all(np.abs(values).max() < 1e6 for values in arrays.values())


def test_a_stop_saves_no_network_that_has_diverged(make_loop, tmp_path: Path) -> None:
    # With a checkpoint after each step no call takes several of them.
    loop = make_loop("a", 12, rate=_too_far_in(3), save_every=1, stop_requested=lambda: loop.state.step == 2)
    with pytest.raises(RunError, match="at step 3 .*: training has diverged"):
        loop.run()
    assert CheckpointFolder(tmp_path / "a").steps() == [1, 2]


def test_answers_that_overflow_for_a_while_end_nothing(make_loop, tmp_path: Path, monkeypatch) -> None:
    """Only the loss, and the end, tell that training has diverged."""
    sound = iter([False, True, True])
    monkeypatch.setattr(Soundness, "__call__", lambda _: next(sound))
    assert make_loop("a", 12).run() == "ended"
    assert CheckpointFolder(tmp_path / "a").steps() == [8, 12]
