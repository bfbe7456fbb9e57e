"""The loop: which evaluation is the best, when it saves, and that going on is as if it had not stopped."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnn.cluster.collectives import Cluster
from cnn.cluster.exchange import GradientExchange
from cnn.data.order import SampleOrder
from cnn.errors import RunError
from cnn.training.checkpoints import CheckpointFolder, load_checkpoint
from cnn.training.evaluation import Evaluation, Evaluator
from cnn.training.loop import Loop, Progress
from cnn.training.optimizers import OptimizerSettings, build_optimizer
from cnn.training.state import restore_state, state_variables
from cnn.training.step import TrainingStep


def evaluation(correct: int, loss: float) -> Evaluation:
    return Evaluation(correct=correct, count=100, loss=loss)


def test_more_right_is_better_then_less_loss_and_the_first_of_equals_stays() -> None:
    progress = Progress()
    taken = []
    for step, (correct, loss) in enumerate(
        [(50, 2.0), (49, 0.1), (50, 2.0), (50, 1.9), (51, 9.0), (51, float("inf")), (51, float("nan"))], start=1
    ):
        progress.step = step
        taken.append(progress.take(evaluation(correct, loss)))
    assert taken == [True, False, False, True, True, False, False]
    assert (progress.best_step, progress.best_correct, progress.best_loss) == (5, 51, 9.0)


def test_any_evaluation_beats_none() -> None:
    assert Progress().take(evaluation(0, 1e30))


@pytest.fixture
def make_loop(cluster: Cluster, make_feed, make_network, tmp_path: Path) -> Callable[..., Loop]:
    def make(
        name: str, total: int, *, resume: int | None = None, save_every: int | None = None, rate: float = 0.01
    ) -> Loop:
        model = make_network("fcnn")
        optimizer = build_optimizer(OptimizerSettings(), model.trainable_variables)
        variables, feed = state_variables(model, optimizer), make_feed()
        checkpoints, progress = CheckpointFolder(tmp_path / name), Progress()
        if resume is not None:
            arrays, record = load_checkpoint(checkpoints.path(resume))
            restore_state(variables, arrays, name)
            progress = Progress(**record["progress"])
        return Loop(
            cluster=cluster,
            order=SampleOrder(np.arange(200), 60, seed=1),
            training_step=TrainingStep(model, optimizer, feed, GradientExchange(cluster), l2=0.0),
            learning_rates=lambda first, steps: np.full(steps, rate),
            variables=variables,
            evaluate=Evaluator(model, feed, np.arange(200, 250), cluster),
            checkpoints=checkpoints,
            record={},
            report=None,
            progress=progress,
            total_steps=total,
            save_every=save_every,
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


def test_divergence_ends_the_run_and_keeps_the_last_checkpoint(make_loop, tmp_path: Path) -> None:
    loop = make_loop("a", 4)
    loop.run()
    diverging = make_loop("a", 40, resume=4, rate=1e38)
    with pytest.raises(RunError, match="the loss is .*smaller --learning_rate") as caught:
        diverging.run()
    assert caught.value.agreed
    arrays, _ = load_checkpoint(CheckpointFolder(tmp_path / "a").path(4))
    assert all(np.isfinite(values).all() for values in arrays.values())
