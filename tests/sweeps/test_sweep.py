"""What a sweep finds in its folder, and what it refuses to begin."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnn.data.sources.registry import DataSettings, open_dataset
from cnn.errors import UserError
from cnn.runs.checkpoints import CheckpointFolder
from cnn.runs.run_folder import start_folder
from cnn.sweeps.recipe import Combination, combinations
from cnn.sweeps.sweep import SweepSettings, check_recipe, find_runs, reserve, train_runs

DIVERGED = "2026-01-01T00:00:00+00:00 rank 0 on host: at step 3 the loss is nan: training has diverged; try less.\n"
STOPPED = "2026-01-01T00:00:00+00:00 rank 0 on host: ended by SIGTERM; continue with --resume.\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text("model: fcnn\nepochs: 3\n")
    return path


@pytest.fixture
def begin(recipe: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes the folder of the recipe's run as training would leave it when it is killed early."""

    def begin(**changed: object) -> Path:
        (combination,) = combinations(recipe, {})
        folder = tmp_path / combination.name
        start_folder(folder, {**combination.settings.merged, "run_dir": str(folder), **changed})
        checksum = open_dataset(DataSettings()).checksum
        (folder / "environment.json").write_text(json.dumps({"data_checksum": checksum}))
        return folder

    return begin


def state(recipe: Path) -> str:
    (run,) = find_runs(recipe.parent, combinations(recipe, {}))
    return run.state


def save(folder: Path) -> None:
    CheckpointFolder(folder / "checkpoints").save(7, {"a": np.zeros(1)}, {}, best=False)


def test_states(recipe: Path, begin: Callable[..., Path]) -> None:
    assert state(recipe) == "new"
    folder = begin()
    assert state(recipe) == "begun"
    save(folder)
    assert state(recipe) == "interrupted"
    (folder / "failure.log").write_text(DIVERGED)
    assert state(recipe) == "diverged"
    (folder / "failure.log").write_text(DIVERGED + STOPPED)
    assert state(recipe) == "interrupted"
    (folder / "summary.json").write_text("{}")
    assert state(recipe) == "done"


def test_a_folder_that_holds_no_run_is_new(recipe: Path, begin: Callable[..., Path]) -> None:
    (begin() / "settings.yaml").unlink()
    assert state(recipe) == "new"


def test_where_things_are_may_differ(recipe: Path, begin: Callable[..., Path]) -> None:
    begin(run_dir="elsewhere", save_every=5, log_every=1)
    assert state(recipe) == "begun"


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize(
    ("changed", "told"), [({"seed": 2}, "seed (2 there, 1 now)"), ({"epochs": 9}, "epochs (9 there, 3 now)")]
)
def test_a_run_of_other_settings_is_refused(
    recipe: Path, begin: Callable[..., Path], changed: dict[str, int], told: str, done: bool
) -> None:
    folder = begin(**changed)
    if done:
        (folder / "summary.json").write_text("{}")
    with pytest.raises(UserError) as caught:
        state(recipe)
    assert f"{folder} holds a run with other settings: {told}; use the same" in str(caught.value)


def test_a_run_on_other_data_is_refused(recipe: Path, begin: Callable[..., Path]) -> None:
    (begin() / "environment.json").write_text(json.dumps({"data_checksum": "other"}))
    with pytest.raises(UserError, match="holds a run on other data"):
        state(recipe)


def test_one_sweep_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "sweep"
    with reserve(folder) as lock:
        with (
            pytest.raises(
                UserError,
                match=rf"another sweep \(process {os.getpid()} on .*\), or a run that it",
            ),
            reserve(folder),
        ):
            pass
        left_behind = os.dup(lock)  # as a run has it
    with pytest.raises(UserError, match="another sweep"), reserve(folder):
        pass
    os.close(left_behind)
    with reserve(folder):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), reserve(tmp_path / "file" / "sweep"):
        pass


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "--recipe is missing"),
        ({"recipe": "a", "cores": 0}, "--cores 0 is less than 1"),
        ({"recipe": "a", "workers": -1}, "--workers -1 is less than 1"),
        ({"recipe": "a", "workers": 2, "launcher": "no-such-launcher -np"}, "is not on this machine"),
        ({"recipe": "a", "workers": 2, "launcher": "'"}, "is not on this machine"),
    ],
)
def test_wrong_settings(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        SweepSettings(**settings)  # type: ignore[arg-type]


def test_the_folder_follows_from_the_recipe() -> None:
    assert SweepSettings(recipe="a/mine.yaml").folder == Path("runs/mine")
    assert SweepSettings(recipe="a/mine.yaml", sweep_dir="b").folder == Path("b")


@pytest.mark.parametrize(
    ("text", "given", "sentence"),
    [
        ("model: [fcnn, alexnet]", {}, "recipe.yaml, model alexnet: alexnet cannot take images of 32x32 pixels"),
        ("seed: [1, 2]", {"metrics_port": 9400}, "runs of a sweep cannot share one --metrics_port: leave it out"),
        ("crop: [pad, random]", {}, "recipe.yaml, crop random: --crop random needs"),
        ("data: [digits, mnist]\nmodel: fcnn", {"data_dir": "/nope"}, "data digits: data_dir is '/nope'"),
        ("data: mnist\nmodel: [fcnn, lenet5]", {"data_dir": "/nope"}, "model fcnn: data_dir '/nope' does not exist"),
    ],
)
def test_all_is_checked_before_anything_starts(
    recipe: Path, text: str, given: dict[str, object], sentence: str
) -> None:
    recipe.write_text(text)
    with pytest.raises(UserError) as caught:
        check_recipe(SweepSettings(recipe=str(recipe)), given)
    assert sentence in str(caught.value)


def test_more_cores_than_there_are(recipe: Path) -> None:
    with pytest.raises(UserError, match="--cores 100000 is more"):
        check_recipe(SweepSettings(recipe=str(recipe), cores=100_000), {})


def test_a_launcher_is_not_for_sweeps(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIZE", "RANK", "LOCAL_RANK", "LOCAL_SIZE"):
        monkeypatch.setenv(f"OMPI_COMM_WORLD_{name}", "1")
    with pytest.raises(UserError, match="start the sweep without mpirun"):
        check_recipe(SweepSettings(recipe=str(recipe)), {})


def test_combinations_are_given(recipe: Path) -> None:
    found: list[Combination] = check_recipe(SweepSettings(recipe=str(recipe)), {"seed": 4})
    assert [each.settings.run.seed for each in found] == [4]


def train(recipe: Path) -> list[str]:
    """With a program that does nothing; gives the names of the runs that were said to start."""
    started: list[str] = []
    (recipe.parent / "program.py").touch()
    runs = find_runs(recipe.parent, combinations(recipe, {}))
    with reserve(recipe.parent) as lock:
        train_runs(
            SweepSettings(recipe=str(recipe)),
            runs,
            recipe.parent / "program.py",
            lock,
            lambda run: started.append(run.combination.name),
            lambda run: None,
        )
    return started


def test_a_run_folder_that_is_a_link_stays_one_when_the_run_begins_anew(
    recipe: Path, begin: Callable[..., Path]
) -> None:
    folder = begin()
    (folder / "deep").mkdir()
    (folder / "deep" / "link").symlink_to(recipe)
    elsewhere = folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(elsewhere)
    assert state(recipe) == "begun"
    assert train(recipe) == [folder.name]
    assert folder.is_symlink()
    assert [path.name for path in elsewhere.iterdir()] == ["output.log"]
    assert recipe.exists()


def test_a_run_folder_that_is_a_link_to_nothing(recipe: Path, begin: Callable[..., Path]) -> None:
    folder = begin()
    shutil.rmtree(folder)
    folder.symlink_to("gone")
    with pytest.raises(
        UserError, match=f"the run folder {folder} cannot be written .File exists.; choose another --sw"
    ):
        train(recipe)


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 5000])
def test_what_a_run_was_made_with_may_be_damaged(recipe: Path, begin: Callable[..., Path], content: str) -> None:
    folder = begin()
    (folder / "environment.json").write_text(content)
    with pytest.raises(UserError) as caught:
        state(recipe)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
