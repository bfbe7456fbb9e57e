"""The whole state by name, and putting it back."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnn.errors import UserError
from cnn.learner.state import read_state, restore_state, state_variables
from cnn.optim.optimizers import OPTIMIZERS, OptimizerSettings, build_optimizer
from cnn.optim.regularisation import RegularisationSettings
from tests.hostile import examples, read_or_sentence


def build(make_network, network: str = "fcnn", optimizer: str = "adam") -> dict[str, Any]:
    model = make_network(network)
    return state_variables(
        model,
        build_optimizer(OptimizerSettings(optimizer=optimizer), RegularisationSettings(), model.trainable_variables),
    )


def test_names_stay_for_checkpoints_hold_them(make_network) -> None:
    assert list(build(make_network)) == [
        "model/logits/kernel",
        "model/logits/bias",
        "optimizer/adam/iteration",
        "optimizer/adam/learning_rate",
        "optimizer/adam/logits_kernel_momentum",
        "optimizer/adam/logits_kernel_velocity",
        "optimizer/adam/logits_bias_momentum",
        "optimizer/adam/logits_bias_velocity",
    ]


class Twins(keras.Model):
    """Two layers of one name, which Keras allows here."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (keras.layers.Dense(2, name="twin") for _ in range(2))

    def call(self, x: Any) -> Any:
        return self.second(self.first(x))


def test_two_variables_of_one_name_are_not_saved_as_one() -> None:
    model = Twins()
    model(np.zeros((1, 3), np.float32))
    optimizer = build_optimizer(OptimizerSettings(), RegularisationSettings(), model.trainable_variables)
    with pytest.raises(ValueError, match="two variables have one name"):
        state_variables(model, optimizer)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_names_do_not_depend_on_what_was_built_before(make_network, optimizer: str) -> None:
    assert list(build(make_network, optimizer=optimizer)) == list(build(make_network, optimizer=optimizer))


@pytest.mark.parametrize("network", ["fcnn", "lenet5-like"])
def test_restored_bit_for_bit(make_network, network: str) -> None:
    random = np.random.default_rng(0)
    first, second = build(make_network, network), build(make_network, network)
    for variable in first.values():
        variable.assign(random.normal(0, 9, variable.shape).astype(variable.dtype))
    saved = read_state(first)
    restore_state(second, saved, "x.npz")
    for name, values in read_state(second).items():
        assert values.dtype == saved[name].dtype
        assert values.tobytes() == saved[name].tobytes()


@pytest.mark.parametrize("missing", [True, False])
def test_another_network_s_first_name_is_told(make_network, missing: bool) -> None:
    variables = build(make_network)
    arrays = read_state(variables)
    if missing:
        del arrays["optimizer/adam/iteration"], arrays["optimizer/adam/logits_bias_momentum"]
    else:
        arrays |= {"model/zzz/kernel": np.zeros(1), "model/extra/kernel": np.zeros(1)}
    with pytest.raises(UserError) as caught:
        restore_state(variables, arrays, "x.npz")
    what = "lacks optimizer/adam/iteration" if missing else "has model/extra/kernel"
    assert str(caught.value) == f"x.npz is from another network or optimizer: it {what}."


def test_nothing_is_changed_when_one_shape_does_not_fit(make_network) -> None:
    variables = build(make_network)
    arrays = {name: values + 1 for name, values in read_state(variables).items()}
    arrays["optimizer/adam/logits_bias_velocity"] = np.zeros(5, np.float32)
    before = read_state(variables)
    with pytest.raises(UserError, match=r"logits_bias_velocity has the shape \(5,\) instead of \(4,\)"):
        restore_state(variables, arrays, "x.npz")
    assert all(np.array_equal(values, before[name]) for name, values in read_state(variables).items())


ARRAYS = st.sampled_from(
    ["<f4", ">f4", "<f8", "<f2", "<f16", "<c8", "<i4", "<u8", "?", "S3", "U2", "V4", "M8[s]", "V0"]
)


@pytest.fixture
def variables(make_network) -> dict[str, Any]:
    return build(make_network)


@examples(60)
@given(st.data(), ARRAYS.map(np.dtype))
def test_arrays_of_any_type_are_restored_or_refused_before_any_is(
    variables: dict[str, Any], data: st.DataObject, kind: np.dtype
) -> None:
    before = read_state(variables)
    name = data.draw(st.sampled_from(sorted(before)))
    shape = data.draw(st.just(before[name].shape) | hnp.array_shapes(max_dims=3, max_side=4))
    arrays = {**before, name: np.ones(shape, kind)}
    if read_or_sentence(lambda: restore_state(variables, arrays, "x.npz") or True, "x.npz", UserError) is None:
        assert all(np.array_equal(values, before[name]) for name, values in read_state(variables).items())
    else:
        assert kind.kind == before[name].dtype.kind
        assert np.array_equal(read_state(variables)[name], np.ones(shape))
