"""Counts and losses against plain ones."""

import keras
import numpy as np
import pytest

from cnn.cluster.collectives import Cluster
from cnn.data.dataset import Part
from cnn.training.evaluation import Evaluator


@pytest.mark.parametrize("samples", [1, 99, 100, 101, 237, 250])
@pytest.mark.parametrize("network", ["fcnn", "lenet5-like"])
def test_every_sample_counts_once(
    cluster: Cluster, make_feed, make_network, part: Part, float64: str, network: str, samples: int
) -> None:
    model = make_network(network)
    chosen = np.random.default_rng(samples).permutation(250)[:samples]
    evaluation = Evaluator(model, make_feed(), chosen, cluster)()
    logits = model((part.images[chosen] / 255 - 0.5) / 0.25, training=False).numpy()
    labels = part.labels[chosen]
    assert evaluation.count == samples
    assert evaluation.correct == int((logits.argmax(1) == labels).sum())
    assert evaluation.accuracy == evaluation.correct / samples
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    np.testing.assert_allclose(evaluation.loss, float(loss), rtol=1e-12)


def test_it_sees_the_weights_of_the_moment(cluster: Cluster, make_feed, make_network) -> None:
    model = make_network("fcnn")
    evaluator = Evaluator(model, make_feed(), np.arange(250), cluster)
    before = evaluator()
    assert evaluator() == before
    model.trainable_variables[1].assign([0, 0, 1000, 0])
    after = evaluator()
    assert after != before
    assert after.correct == int((make_feed().batch(np.arange(250))[1].numpy() == 2).sum())


def test_a_loss_that_is_no_number_is_told_for_real_samples(cluster: Cluster, make_feed, make_network) -> None:
    model = make_network("fcnn")
    model.trainable_variables[1].assign([np.nan] * 4)
    assert np.isnan(Evaluator(model, make_feed(), np.arange(250), cluster)().loss)
