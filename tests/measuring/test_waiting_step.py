"""A step that waits sends and counts what one that computes does."""

import functools
import time

import numpy as np
import pytest

from cnn.cluster.exchange.exchange import GradientExchange
from cnn.cluster.ranks.collectives import Cluster
from cnn.cluster.ranks.planned_cluster import PlannedCluster
from cnn.errors import UserError
from cnn.learner.state import read_state
from cnn.measuring.waiting_step import WaitingStep

from ..noise import noise_learner

waiting = functools.partial(WaitingStep, seconds=0.0, around=lambda run: run())


@pytest.mark.parametrize("factored", [frozenset[str](), frozenset({"fc1/kernel", "logits/kernel"})])
def test_it_sends_the_same_messages(factored: frozenset[str]) -> None:
    cluster = PlannedCluster(64)
    learner = noise_learner(cluster, "--model", "lenet5-like", "--exchange", "allreduce", side=28, batch=128)
    sent = []
    for step_class in (None, waiting):
        exchange = GradientExchange(cluster, factored, bucket_bytes=2**14)
        learner.make_step(exchange=exchange, step_class=step_class).trace(learner.order.width(64))
        sent.append(exchange._messages)
    assert len(sent[0]) > 5
    assert sent[0] == sent[1]


def test_it_waits_counts_its_samples_and_changes_no_weights(cluster: Cluster) -> None:
    # Moving statistics, a last batch that is not full, and several micro-batches.
    command = ("--model", "resnet18", "--group_size", 4, "--micro_batch_size", 4, "--optimizer", "sgd")
    learner = noise_learner(cluster, *command, side=32, batch=8, images=20)
    before = {name: np.array(values) for name, values in read_state(learner.variables).items()}
    seen: list[int] = []

    def around(run):
        seen.append(1)
        return run()

    step = learner.make_step(step_class=functools.partial(WaitingStep, seconds=0.02, around=around))
    begin = time.monotonic()
    results = step.run(learner.order.plan(0, 3, 0, 1), np.full(3, 0.1))
    assert time.monotonic() - begin >= 0.06
    assert results.totals["loss"].samples[:, 0].tolist() == [8, 8, 4]
    assert not results.totals["loss"].sums.any()
    assert seen == [1]
    for name, values in read_state(learner.variables).items():
        if name.startswith("model/"):
            np.testing.assert_allclose(values, before[name], rtol=1e-6, err_msg=name)


def test_sharded_kernels_are_refused() -> None:
    cluster = PlannedCluster(2)
    learner = noise_learner(cluster, "--model", "lenet5-like", "--exchange", "sharded", side=28, batch=8)
    with pytest.raises(UserError, match="choose --exchange allreduce or factored"):
        learner.make_step(step_class=waiting)
