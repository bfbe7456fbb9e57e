"""Steps with kernels that are divided among ranks, of which there is only one: everything but the messages."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

from cnn.cluster.exchange.exchange import LocalExchange
from cnn.cluster.exchange.sharded_kernel import shard
from cnn.cluster.exchange.sharded_kernels import NOT_SHARDED, ShardedKernels
from cnn.cluster.exchange.step_collectives import NothingSent
from cnn.cluster.ranks.collectives import Cluster
from cnn.data.order import SampleOrder
from cnn.learner.exchange_selection import dense_kernels
from cnn.learner.loss_scale import make_loss_scale
from cnn.learner.precision import use_precision
from cnn.learner.state import divided, read_state, state_variables
from cnn.learner.step import TrainingStep
from cnn.optim.averaging import make_average
from cnn.optim.optimizers import OptimizerSettings, build_optimizer
from cnn.optim.regularisation import RegularisationSettings

STEPS = 5


class Trained:
    """A network with dropout that has been trained for some steps, the last of 10 samples and what fills up."""

    def __init__(
        self,
        cluster: Cluster,
        model: Any,
        feed: Any,
        *,
        is_divided: bool,
        optimizer: str = "adam",
        micro_batch_size: int | None = None,
        **regularisation: Any,
    ) -> None:
        variables = {each.path: each for each in model.trainable_variables}
        kernels = [shard(cluster, variables[kernel.path]).alone() for kernel in dense_kernels(model)]
        self.sharded = ShardedKernels(kernels, NothingSent(1)) if is_divided else NOT_SHARDED
        settings = RegularisationSettings(**regularisation)
        trained = self.sharded.trained(model.trainable_variables)
        built = build_optimizer(OptimizerSettings(optimizer=optimizer), settings, trained, self.sharded)
        self.average = make_average(model, settings, self.sharded)
        scale = make_loss_scale(keras.config.dtype_policy().name)
        self.variables = state_variables(model, built, self.average, scale, sharded=self.sharded)
        self.model = model
        self.step = TrainingStep(
            model,
            built,
            feed,
            LocalExchange(sharded=self.sharded),
            settings,
            micro_batch_size=micro_batch_size,
            average=self.average,
            loss_scale=scale,
        )
        order = SampleOrder(np.arange(250), 80, seed=3, micro_batch_size=micro_batch_size)
        self.plan = order.plan(0, STEPS, 0, 1)
        self.first_gradients = self.step.gradients(self.plan, 3)
        self.results = self.step.run(self.plan, np.full(STEPS, 0.01), with_norms=True)
        self.sharded.gather()
        self.state = read_state(self.variables)


@pytest.fixture
def train(cluster: Cluster, make_feed, make_network, float64: str) -> Callable[..., Trained]:
    return lambda **settings: Trained(cluster, make_network("lenet5-like"), make_feed(), **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"l2": 0.25, "clip_norm": 0.5, "average_decay": 0.5, "micro_batch_size": 7},
        {"optimizer": "momentum", "weight_decay": 0.1},
        {"optimizer": "lars", "weight_decay": 0.1},
        {"optimizer": "lamb"},
    ],
    ids=["all", "momentum", "lars", "lamb"],
)
def test_divided_kernels_train_as_whole_ones(train, settings: dict[str, Any]) -> None:
    whole, parts = train(is_divided=False, **settings), train(is_divided=True, **settings)
    assert list(parts.sharded) == ["fc1/kernel", "fc2/kernel", "logits/kernel"]
    for gradient, right in zip(parts.first_gradients, whole.first_gradients, strict=True):
        np.testing.assert_allclose(gradient, right, rtol=1e-10, atol=1e-14)
    assert parts.state.keys() == whole.state.keys()
    for name, values in whole.state.items():
        np.testing.assert_allclose(parts.state[name], values, rtol=1e-9, atol=1e-12, err_msg=name)
    assert parts.results.gradient_norms == pytest.approx(whole.results.gradient_norms, rel=1e-9)


def test_slots_and_averages_are_divided_and_the_networks_kernels_old_until_gathered(train) -> None:
    trained = train(is_divided=True, average_decay=0.5)
    slots = [
        f"optimizer/adam/{name}_kernel_{slot}" for name in ("fc1", "fc2", "logits") for slot in ("momentum", "velocity")
    ]
    averages = [f"average/{name}/kernel" for name in ("fc1", "fc2", "logits")]
    assert sorted(divided(trained.variables)) == sorted([*slots, *averages])
    before = trained.state["model/fc1/kernel"].copy()
    trained.step.run(trained.plan, np.full(STEPS, 0.01))
    np.testing.assert_array_equal(trained.model.get_layer("fc1").kernel.numpy(), before)
    trained.sharded.gather()
    assert not np.array_equal(trained.model.get_layer("fc1").kernel.numpy(), before)


def test_an_average_of_divided_kernels_takes_their_place(train) -> None:
    trained = train(is_divided=True, average_decay=0.5)
    kernel = trained.model.get_layer("fc1").kernel
    with trained.average.in_place():
        np.testing.assert_array_equal(kernel.numpy(), trained.state["average/fc1/kernel"])
    np.testing.assert_array_equal(kernel.numpy(), trained.state["model/fc1/kernel"])


@pytest.fixture
def mixed(request: pytest.FixtureRequest) -> Iterator[None]:
    """What is built in the test computes in a mixed precision."""
    use_precision(request.param)
    yield
    use_precision("float32")


@pytest.mark.parametrize("mixed", ["mixed_float16"], indirect=True)
@pytest.mark.usefixtures("mixed")
def test_a_step_whose_divided_gradients_overflow_is_left_out(cluster: Cluster, make_feed, make_network) -> None:
    trained = Trained(cluster, make_network("lenet5-like"), make_feed(), is_divided=True)
    before = trained.sharded["fc1/kernel"].rows.numpy()
    trained.variables["loss_scale/scale"].assign(2.0**40)
    assert trained.step.run(trained.plan, np.full(STEPS, 0.01)).diagnostics.skipped.all()
    np.testing.assert_array_equal(trained.sharded["fc1/kernel"].rows.numpy(), before)


@pytest.mark.parametrize("mixed", ["mixed_bfloat16"], indirect=True)
@pytest.mark.usefixtures("mixed")
def test_mixed_precision_adds_up_in_float32(cluster: Cluster, make_feed, make_network) -> None:
    trained = Trained(cluster, make_network("lenet5-like"), make_feed(), is_divided=True)
    paths = [each.path for each in trained.model.trainable_variables]
    gradient = trained.first_gradients[paths.index("fc1/kernel")]
    assert gradient.dtype == np.float32
    assert np.unique(gradient.view(np.uint32) & 0xFFF).size > 1
