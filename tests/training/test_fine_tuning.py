"""Beginning with another run's weights."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from cnn.errors import UserError
from cnn.models.registry import ModelSettings, build_network
from cnn.training.fine_tuning import initialize_from
from cnn.training.saved_run import SavedRun


@pytest.fixture
def run(make_run: Callable[..., SavedRun]) -> SavedRun:
    return make_run("--model", "lenet5")


def network(model: str = "lenet5", classes: int = 10, shape: tuple[int, int, int] = (32, 32, 1)) -> keras.Model:
    return build_network(ModelSettings(model=model), shape, classes, seed=7)


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return {variable.path: variable.value.numpy() for variable in model.variables}


def test_all_weights_are_the_best_checkpoint_s(run: SavedRun) -> None:
    model = network()
    assert initialize_from(run.folder, model) == f"begins with the weights of {run.folder} after step 5"
    theirs = values(run.load_network("best")[0])
    for path, mine in values(model).items():
        assert np.array_equal(mine, theirs[path]), path


def test_other_classes_are_told_apart_by_layers_that_begin_anew(run: SavedRun) -> None:
    model = network(classes=3)
    before = values(model)
    assert initialize_from(run.folder, model).endswith("after step 5; anew: logits")
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
    with pytest.raises(UserError, match=f"does not fit {model}: .* shapes there: {layers}"):
        initialize_from(run.folder, other)
    for path, value in values(other).items():
        assert np.array_equal(value, before[path])


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        initialize_from(tmp_path, network())
