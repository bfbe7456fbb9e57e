"""Beginning with another run's weights."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from cnn.errors import UserError
from cnn.models.published_layouts import LAYOUTS
from cnn.models.registry import NETWORKS, ModelSettings, build_network
from cnn.runs.fine_tuning import check_origin, following_weights, initialize_from, recorded_start
from cnn.runs.run_folder import check_same, environment_of, start_folder, write_environment
from cnn.runs.saved_run import SavedRun
from cnn.runs.start import planned_start
from cnn.settings.settings import TrainingSettings, parse_settings


@pytest.fixture
def run(make_run: Callable[..., SavedRun]) -> SavedRun:
    return make_run("--model", "lenet5")


def network(model: str = "lenet5", classes: int = 10, shape: tuple[int, int, int] = (32, 32, 1)) -> keras.Model:
    return build_network(ModelSettings(model=model), shape, classes, seed=7)


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return {variable.path: variable.value.numpy() for variable in model.variables}


def test_all_weights_are_the_best_checkpoint_s(run: SavedRun) -> None:
    model = network()
    said, origin = initialize_from(run.folder, model.name, model)
    assert said == f"starts with the weights of {run.folder} after step 5"
    assert (origin["folder"], origin["step"]) == (str(run.folder), 5)
    theirs = values(run.load_network("best")[0])
    for path, mine in values(model).items():
        assert np.array_equal(mine, theirs[path]), path


def test_other_classes_are_told_apart_by_layers_that_begin_anew(run: SavedRun) -> None:
    model = network(classes=3)
    before = values(model)
    assert initialize_from(run.folder, model.name, model)[0].endswith("after step 5; newly initialized: logits")
    theirs = values(run.load_network("best")[0])
    for path, mine in values(model).items():
        assert np.array_equal(mine, before[path] if path.startswith("logits/") else theirs[path]), path


@pytest.mark.parametrize(
    ("model", "shape", "layers"),
    [
        ("lenet5", (32, 32, 3), "conv1;"),
        ("lenet5", (28, 28, 1), "fc1;"),
        ("fcnn", (32, 32, 1), "conv1, conv2, fc1, fc2;"),
        ("resnet18-32", (32, 32, 1), "conv1, conv1_bn, stage1_block1_conv1, .* and [0-9]+ more;"),
    ],
)
def test_layers_that_do_not_fit_are_named_and_nothing_is_changed(
    run: SavedRun, model: str, shape: tuple[int, int, int], layers: str
) -> None:
    other = network(model, shape=shape)
    before = values(other)
    with pytest.raises(UserError, match=f"does not fit {model}: .* different shapes: {layers}"):
        initialize_from(run.folder, other.name, other)
    for path, value in values(other).items():
        assert np.array_equal(value, before[path])


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        initialize_from(tmp_path, "lenet5", network())


def asked(*arguments: object) -> TrainingSettings:
    return parse_settings("", TrainingSettings, ["--model", "lenet5", *map(str, arguments)])


def begin(folder: Path, *arguments: object) -> Path:
    """A run that was ended before its first checkpoint."""
    start_folder(folder, asked("--run_dir", folder, *arguments).merged)
    return folder


def start(folder: Path, *arguments: object) -> str | None:
    """What a run that is resumed with these settings begins with."""
    return recorded_start(folder, asked(*arguments).run.initialize_from)


def test_what_a_run_begins_with_need_not_be_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tuned = begin(tmp_path / "tuned", "--initialize_from", "runs/a")
    assert start(tuned) == "runs/a"
    for same in ("runs/a", "./runs//a", tmp_path / "runs" / "a"):
        assert start(tuned, "--initialize_from", same) == str(same)
    assert start(begin(tmp_path / "own")) is None


def test_other_weights_make_another_run(tmp_path: Path) -> None:
    tuned, own = begin(tmp_path / "tuned", "--initialize_from", "runs/a"), begin(tmp_path / "own")
    for folder, before in ((tuned, "the weights of runs/a"), (own, "its own initial weights")):
        with pytest.raises(UserError, match=f"{folder} was started with {before} and .* --initialize_from runs/b"):
            start(folder, "--initialize_from", "runs/b")


def test_with_a_checkpoint_it_does_not_matter_and_stays_recorded(make_run: Callable[..., SavedRun]) -> None:
    run = make_run("--model", "lenet5", "--initialize_from", "runs/a")
    for again in ((), ("--initialize_from", "runs/b")):
        assert start(run.folder, *again) == "runs/a"


def test_weights_that_changed_are_noticed_and_moved_ones_are_known(run: SavedRun, tmp_path: Path) -> None:
    tuned = begin(tmp_path / "tuned", "--initialize_from", run.folder)
    origin = initialize_from(run.folder, "lenet5", network())[1]
    write_environment(tuned, environment_of({}, "abc", origin))
    check_origin(tuned, origin)
    check_origin(tmp_path / "new", origin)
    moved = run.folder.rename(tmp_path / "moved")
    assert start(tuned, "--initialize_from", moved) == str(moved)
    check_origin(tuned, initialize_from(moved, "lenet5", network())[1])
    best = moved / "checkpoints" / "best.npz"
    best.unlink()
    best.hardlink_to(moved / "checkpoints" / "step-000000009.npz")
    with pytest.raises(UserError, match="best weights of .*moved after step 9 are not those .* after step 5: name"):
        check_origin(tuned, initialize_from(moved, "lenet5", network())[1])


@pytest.fixture
def resnet18(tmp_path: Path) -> Path:
    """A file with the names of torchvision's ResNet-18, and shapes that do not matter."""
    [layout] = [each for each in LAYOUTS if each.conventions == "torch"]
    names = layout.layers(NETWORKS["resnet18"].options).values()
    path = tmp_path / "resnet18.safetensors"
    save_file({f"{name}.weight": np.zeros(1, np.float32) for name in names}, path)
    return path


def following(settings: TrainingSettings) -> tuple[str | None, str | None]:
    return settings.model.conventions, settings.data.preprocessing


def test_settings_follow_from_published_weights_unless_they_are_given(resnet18: Path) -> None:
    published = ("--model", "resnet18", "--initialize_from", resnet18)
    assert following(following_weights(asked(*published))) == ("torch", "torch")
    contradicted = asked(*published, "--conventions", "own", "--preprocessing", "unit")
    assert following(following_weights(contradicted)) == ("own", "unit")
    assert following(following_weights(asked(*published, "--preprocessing", "unit"))) == ("torch", "unit")
    assert following(following_weights(asked())) == (None, None)
    assert following(following_weights(asked("--initialize_from", resnet18))) == (None, "torch")  # lenet5 has none


def test_settings_follow_from_another_run_s_weights(tmp_path: Path, resnet18: Path) -> None:
    published = asked("--model", "resnet18", "--initialize_from", resnet18)
    start_folder(tmp_path / "first", following_weights(published).merged)
    second = asked("--model", "resnet18", "--initialize_from", tmp_path / "first")
    assert following(following_weights(second)) == ("torch", "torch")


def test_a_resumed_run_keeps_the_settings_without_the_file(tmp_path: Path, resnet18: Path) -> None:
    settings = following_weights(asked("--model", "resnet18", "--initialize_from", resnet18))
    start_folder(tmp_path / "run", settings.merged)
    resnet18.unlink()
    again = asked("--model", "resnet18", "--run_dir", tmp_path / "run", "--resume", "true")
    check_same(tmp_path / "run", again.merged)
    assert following(planned_start(again).settings) == ("torch", "torch")
    other = asked("--model", "resnet18", "--run_dir", tmp_path / "run", "--resume", "true", "--conventions", "keras")
    with pytest.raises(UserError, match=r"other settings: conventions \(torch there, keras now\)"):
        planned_start(other)
