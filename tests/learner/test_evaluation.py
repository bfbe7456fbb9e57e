"""Counts and losses against plain ones."""

import keras
import numpy as np
import pytest

from cnn.cluster.ranks.collectives import Cluster
from cnn.data.dataset import Part
from cnn.data.feed import pixels
from cnn.learner.evaluation import Evaluation, Evaluator, Soundness


def count(evaluation: Evaluation, name: str) -> int:
    """How many samples a counted metric has found."""
    [found] = evaluation.totals[name].sums
    assert found.dtype == np.int64
    return int(found)


def assert_same_bits(one: Evaluation, other: Evaluation) -> None:
    assert one.means == other.means
    assert one.confusion.tolist() == other.confusion.tolist()


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
    assert evaluation.totals["accuracy"].samples.tolist() == [samples]
    assert count(evaluation, "accuracy") == int((logits.argmax(1) == labels).sum())
    assert evaluation.means["accuracy"] == count(evaluation, "accuracy") / samples
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    np.testing.assert_allclose(evaluation.means["loss"], float(loss), rtol=1e-12)


def test_mirror_images_are_averaged(cluster: Cluster, make_feed, make_network, part: Part, float64: str) -> None:
    model = make_network("lenet5-like")
    evaluation = Evaluator(model, make_feed(), np.arange(250), cluster, flip=True)()
    images = (part.images / 255 - 0.5) / 0.25
    one, other = (keras.ops.softmax(model(each, training=False)).numpy() for each in (images, images[:, :, ::-1]))
    probabilities = (one + other) / 2
    assert np.abs(one - other).max() > 1e-3
    assert count(evaluation, "accuracy") == int((probabilities.argmax(1) == part.labels).sum())
    loss = -np.log(probabilities[np.arange(250), part.labels]).mean()
    np.testing.assert_allclose(evaluation.means["loss"], loss, rtol=1e-12)


def test_it_sees_the_weights_of_the_moment(cluster: Cluster, make_feed, make_network, part: Part) -> None:
    model = make_network("fcnn")
    evaluator = Evaluator(model, make_feed(), np.arange(250), cluster)
    before = evaluator()
    assert_same_bits(evaluator(), before)
    model.trainable_variables[1].assign([0, 0, 1000, 0])
    after = evaluator()
    assert after.means["loss"] != before.means["loss"]
    assert count(after, "accuracy") == int((part.labels == 2).sum())


def test_other_images_are_evaluated_without_tracing_the_network_again(
    cluster: Cluster, make_feed, make_network, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, traced = make_network("fcnn"), []
    call = model.call
    monkeypatch.setattr(model, "call", lambda *values, **named: (traced.append(1), call(*values, **named))[1])
    evaluator = Evaluator(model, make_feed(), np.arange(130), cluster, find_worst=True)
    assert evaluator().worst
    assert len(traced) == 1
    evaluation = evaluator.on(make_feed(), np.arange(130, 250))()
    assert len(traced) == 1
    assert not evaluation.worst
    assert_same_bits(evaluation, Evaluator(model, make_feed(), np.arange(130, 250), cluster)())


@pytest.mark.parametrize("bias", [[np.nan] * 4, [0, 0, np.nan, 0], [np.inf, 0, 0, 0]])
def test_answers_that_are_no_numbers_are_not_right(
    cluster: Cluster, make_feed, make_network, bias: list[float]
) -> None:
    model = make_network("fcnn")
    model.trainable_variables[1].assign(bias)
    evaluation = Evaluator(model, make_feed(), np.arange(250), cluster)()
    assert not np.isfinite(evaluation.means["loss"])
    assert (count(evaluation, "accuracy"), evaluation.means["class_accuracy"], evaluation.confusion.sum()) == (0, 0, 0)
    assert not Soundness(model, make_feed(), np.arange(250), cluster)()


@pytest.mark.parametrize("samples", [3, 250])
def test_a_few_images_tell_that_a_network_is_sound(cluster: Cluster, make_feed, make_network, samples: int) -> None:
    assert Soundness(make_network("fcnn"), make_feed(), np.arange(samples), cluster)()


@pytest.mark.parametrize("bytes_at_once", [1, 128 << 20])
def test_streamed_images_give_the_same_bits(
    cluster: Cluster, make_feed, make_network, stored: Part, monkeypatch: pytest.MonkeyPatch, bytes_at_once: int
) -> None:
    monkeypatch.setattr(pixels, "STREAMED_BYTES", bytes_at_once)
    model = make_network("lenet5-like")
    chosen = np.random.default_rng(0).permutation(250)[:237]
    resident = Evaluator(model, make_feed(), chosen, cluster)()
    evaluator = Evaluator(model, make_feed(stored, resident_mb=0), chosen, cluster)
    assert_same_bits(evaluator(), resident)
    assert_same_bits(evaluator(), resident)


@pytest.mark.parametrize("batch_size", [1, 100, 1000])
def test_classes_are_counted(cluster: Cluster, make_feed, make_network, part: Part, batch_size: int) -> None:
    chosen = np.random.default_rng(1).permutation(250)[:237]
    model = make_network("lenet5-like")
    evaluation = Evaluator(model, make_feed(), chosen, cluster, batch_size=batch_size)()
    said = model((part.images[chosen] / 255 - 0.5) / 0.25, training=False).numpy().argmax(1)
    expected = [
        [int(((part.labels[chosen] == row) & (said == column)).sum()) for column in range(4)] for row in range(4)
    ]
    assert evaluation.confusion.tolist() == expected
    by_class = evaluation.totals["class_accuracy"]
    assert by_class.sums.tolist() == np.diagonal(expected).tolist()
    assert by_class.samples.tolist() == np.sum(expected, 1).tolist()
    assert "top5_accuracy" not in evaluation.totals  # of four classes


def test_the_likeliest_five_of_more_classes(cluster: Cluster, make_feed) -> None:
    images = keras.Input((12, 12, 1))
    model = keras.Model(images, keras.layers.Dense(9, kernel_initializer="zeros")(keras.layers.Flatten()(images)))
    model.trainable_variables[1].assign([5, 6, 2, 7, 3, 8, 9, 4, 1])  # all of the four but 2
    evaluation = Evaluator(model, make_feed(), np.arange(250), cluster)()
    labels = make_feed().read(np.arange(250)[np.newaxis])[1].numpy()
    assert count(evaluation, "top5_accuracy") == int(np.isin(labels, [0, 1, 3]).sum())
    assert evaluation.totals["class_accuracy"].sums.tolist() == [0] * 9
    assert evaluation.means["class_accuracy"] == 0  # of the classes that have samples
    assert evaluation.confusion.sum(0).tolist() == [0, 0, 0, 0, 0, 0, 250, 0, 0]


@pytest.mark.parametrize("left_out", [[3], [*range(100, 200)], [0, 99, 100, 249]])
def test_samples_that_are_left_out_do_not_count(
    cluster: Cluster, make_feed, make_network, part: Part, left_out: list[int]
) -> None:
    """One of them is a complete group."""
    model = make_network("lenet5-like")
    evaluation = Evaluator(model, make_feed(), np.arange(250), cluster, left_out=left_out)()
    kept = np.setdiff1d(np.arange(250), left_out)
    found = model(((part.images[kept] / 255 - 0.5) / 0.25).astype(np.float32), training=False).numpy().argmax(1)
    assert count(evaluation, "accuracy") == (found == part.labels[kept]).sum()
    assert evaluation.totals["accuracy"].samples.tolist() == [len(kept)]
    assert evaluation.confusion.sum(1).tolist() == np.bincount(part.labels[kept], minlength=4).tolist()


def test_the_worst_answers_are_found(cluster: Cluster, make_feed, make_network, part: Part, float64: str) -> None:
    model = make_network("lenet5-like")
    chosen = np.random.default_rng(1).permutation(250)[:237]
    assert not Evaluator(model, make_feed(), chosen, cluster)().worst
    worst = Evaluator(model, make_feed(), chosen, cluster, find_worst=True)().worst
    logits = model((part.images[chosen] / 255 - 0.5) / 0.25, training=False).numpy()
    labels, predicted = part.labels[chosen], logits.argmax(1)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(237), labels]
    order = sorted((place for place in range(237) if labels[place] != predicted[place]), key=lambda n: -losses[n])[:16]
    assert [answer[1:] for answer in worst] == [(chosen[n], labels[n], predicted[n]) for n in order]
    np.testing.assert_allclose([answer.loss for answer in worst], losses[order])


def test_who_is_always_right_has_no_worst_answers(cluster: Cluster, make_feed, make_network, part: Part) -> None:
    model = make_network("fcnn")
    model.trainable_variables[1].assign([0, 0, 1000, 0])
    of_class = np.flatnonzero(part.labels == 2)
    assert not Evaluator(model, make_feed(), of_class, cluster, find_worst=True)().worst
