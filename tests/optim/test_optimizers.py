"""The settings of optimizers; test_step.py takes their steps."""

import pytest

from cnn.errors import UserError
from cnn.optim.optimizers import OPTIMIZERS, OptimizerSettings, build_optimizer
from cnn.optim.regularisation import RegularisationSettings


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_has_its_own_rate_unless_one_is_given(name: str) -> None:
    assert OptimizerSettings(optimizer=name).base_learning_rate == OPTIMIZERS[name].learning_rate
    assert OptimizerSettings(optimizer=name, learning_rate=0.125).base_learning_rate == 0.125


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slots_are_there_before_the_first_step(name: str, make_network) -> None:
    """A checkpoint is restored into them."""
    model = make_network("fcnn")
    optimizer = build_optimizer(OptimizerSettings(optimizer=name), RegularisationSettings(), model.trainable_variables)
    before = {variable.path for variable in optimizer.variables}
    optimizer.apply([variable.value for variable in model.trainable_variables], model.trainable_variables)
    assert {variable.path for variable in optimizer.variables} == before


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"optimizer": "adm"}, "unknown optimizer 'adm'.*Did you mean 'adam'"),
        ({"learning_rate": 0.0}, "--learning_rate 0.0"),
        ({"learning_rate": -1.0}, "--learning_rate -1.0"),
        ({"learning_rate": 1e-46}, "--learning_rate 1e-46 is 0 in float32"),
        ({"learning_rate": float("nan")}, "--learning_rate nan"),
        ({"learning_rate": float("inf")}, "--learning_rate inf"),
    ],
)
def test_impossible_settings(wrong: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        OptimizerSettings(**wrong)
