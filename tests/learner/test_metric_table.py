"""The rows of the table of metrics, and that one more is all that a metric takes."""

import dataclasses
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnn.cluster.exchange.exchange import LocalExchange
from cnn.cluster.launchers.process import ALONE
from cnn.cluster.ranks.collectives import Cluster
from cnn.cluster.ranks.job import Job
from cnn.data.dataset import Part
from cnn.data.order import SampleOrder
from cnn.learner.evaluation import Evaluator
from cnn.learner.metric_table import BEST_BY, METRICS, Answers, Metric, metrics_for
from cnn.learner.step import TrainingStep
from cnn.learner.step_message import Reports
from cnn.learner.step_results import StepResults
from cnn.monitoring.records.metrics import read_metrics
from cnn.optim.regularisation import RegularisationSettings
from cnn.runs.checkpoints import CheckpointFolder, load_checkpoint
from cnn.runs.train import train
from cnn.settings.settings import TrainingSettings, parse_settings


def of_samples(name: str, logits: np.ndarray, labels: np.ndarray) -> list[bool]:
    answers = Answers(tf.zeros(len(labels)), tf.constant(logits), tf.constant(labels, tf.int64))
    return METRICS[name].of_samples(answers).numpy().tolist()


@pytest.mark.parametrize(("name", "places"), [("accuracy", 1), ("class_accuracy", 1), ("top5_accuracy", 5)])
def test_the_likeliest_classes_are_those_that_a_stable_sort_puts_first(name: str, places: int) -> None:
    random = np.random.default_rng(0)
    logits = random.integers(0, 5, (3000, 9)).astype(np.float32)  # with many that are equal
    labels = random.integers(0, 9, 3000)
    first = np.argsort(-logits, axis=1, kind="stable")[:, :places]
    assert of_samples(name, logits, labels) == (first == labels[:, np.newaxis]).any(1).tolist()


def test_the_likeliest_five_are_told_of_six_classes_and_more() -> None:
    assert "top5_accuracy" not in metrics_for(5)
    assert "top5_accuracy" in metrics_for(6)


def test_what_the_best_checkpoint_is_chosen_by_is_in_every_evaluation() -> None:
    assert set(BEST_BY) <= metrics_for(2).keys()
    assert not any(METRICS[name].per_class for name in BEST_BY)


def _confidence(answers: Answers) -> tf.Tensor:
    return tf.reduce_max(tf.nn.softmax(answers.logits), 1)


ROWS = {
    "confidence": Metric(of_samples=_confidence, better="higher", label="confidence"),
    "class_confidence": Metric(of_samples=_confidence, better="higher", label="of classes", per_class=True),
    "class_hits": dataclasses.replace(METRICS["class_accuracy"], in_training=True),
}


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three more rows in the table."""
    for name, row in ROWS.items():
        monkeypatch.setitem(METRICS, name, row)


def confidences(model: keras.Model, part: Part, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest probability of each sample, and whether the first class with it is right."""
    logits = model((part.images[samples] / 255 - 0.5) / 0.25, training=False).numpy()
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).max(1), logits.argmax(1) == part.labels[samples]


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("micro_batch_size", [None, 7])
def test_a_step_has_a_new_row(make_feed, make_network, part: Part, float64: str, micro_batch_size: int | None) -> None:
    order = SampleOrder(np.arange(250), 80, seed=3, micro_batch_size=micro_batch_size)
    model = make_network("fcnn")
    expected, right = confidences(model, part, samples := order.epoch_indices(0)[240:])  # an epoch's last 10
    step = TrainingStep(
        model,
        keras.optimizers.SGD(),
        make_feed(),
        LocalExchange(),
        RegularisationSettings(),
        micro_batch_size=micro_batch_size,
    )
    results = step.run(order.plan(3, 1, 0, 1), np.zeros(1))
    assert list(results.totals) == ["loss", "accuracy", *ROWS]
    assert results.totals["confidence"].samples.tolist() == [[10]]
    np.testing.assert_allclose(results.totals["confidence"].mean, [expected.mean()], rtol=1e-12)
    labels = part.labels[samples]
    by_class = results.totals["class_confidence"]
    assert by_class.samples.tolist() == [np.bincount(labels, minlength=4).tolist()]
    np.testing.assert_allclose(by_class.sums, [np.bincount(labels, expected, 4)], rtol=1e-12)
    hits = results.totals["class_hits"]
    assert hits.sums.dtype == np.int64
    assert hits.sums.tolist() == [np.bincount(labels, right, 4).tolist()]


def test_reports_and_diagnostics_are_where_their_names_say(make_feed, make_network, rows: None) -> None:
    step = TrainingStep(
        make_network("fcnn"), keras.optimizers.SGD(), make_feed(), LocalExchange(), RegularisationSettings()
    )
    plan = SampleOrder(np.arange(250), 80, seed=3).plan(0, 2, 0, 1)
    results: StepResults = step.run(plan, np.zeros(2), Reports(0.5, False, True))
    assert [each.tolist() for each in results.reports] == [[0.5, 0.5], [0, 0], [1, 1]]
    np.testing.assert_allclose(results.diagnostics.local_losses, results.totals["loss"].sums[:, 0], rtol=1e-6)
    assert not results.diagnostics.skipped.any()


@pytest.mark.usefixtures("rows")
def test_an_evaluation_has_a_new_row(cluster: Cluster, make_feed, make_network, part: Part, float64: str) -> None:
    model = make_network("fcnn")
    expected, right = confidences(model, part, np.arange(250))
    totals = Evaluator(model, make_feed(), np.arange(250), cluster)().totals
    assert ROWS.keys() <= totals.keys()
    np.testing.assert_allclose(totals["confidence"].mean, expected.mean(), rtol=1e-12)
    sums, samples = np.bincount(part.labels, expected), np.bincount(part.labels)
    np.testing.assert_allclose(totals["class_confidence"].means, sums / samples, rtol=1e-12)
    np.testing.assert_allclose(totals["class_confidence"].mean, (sums / samples).mean(), rtol=1e-12)
    assert totals["class_hits"].sums.tolist() == np.bincount(part.labels, right).tolist()


def test_a_run_records_a_new_row(
    cluster: Cluster, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, rows: None
) -> None:
    """Stopped within an interval of its curve, before it has the rows, and resumed with them."""
    monkeypatch.setenv("CNN_CACHE_DIR", str(cache))
    command = ["--data", "digits", "--model", "fcnn", "--run_dir", str(tmp_path / "run"), "--log_every", "4"]

    def run(*more: str) -> None:
        job = Job(ALONE)
        train(cluster, parse_settings("", TrainingSettings, [*command, *more]), job)
        assert job.carried.lock is not None
        os.close(job.carried.lock)  # as the end of its process does

    with monkeypatch.context() as before:
        for name in ROWS:
            before.delitem(METRICS, name)
        run("--steps", "6")
    run("--steps", "14", "--resume")
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    train_points = [record for record in records if record["part"] == "train"]
    assert [(each["step"], each.keys() >= ROWS.keys()) for each in train_points] == [
        (4, False), (6, False), (8, True), (11, True), (14, True),
    ]  # fmt: skip
    for part in ("validation", "test"):
        last = [record for record in records if record["part"] == part][-1]
        assert last.keys() >= {"loss", "accuracy", "top5_accuracy", "class_accuracy", *ROWS}
        assert last["class_hits"] == last["class_accuracy"]
        assert 0.1 <= last["confidence"] <= 1
    checkpoints = CheckpointFolder(tmp_path / "run" / "checkpoints")
    _, record = load_checkpoint(checkpoints.path(14))
    pending = record["progress"]["pending"]
    assert pending.keys() == {"loss", "accuracy", *ROWS}
    assert all(sum(pending[name]["samples"]) == 3 * 128 for name in pending)
    assert all(type(each) is int for each in pending["class_hits"]["sums"])
    assert record["progress"]["best"].keys() == set(BEST_BY)
