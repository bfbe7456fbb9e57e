"""The counts of metrics, by steps and by an evaluation, of any number of workers."""

from pathlib import Path

import numpy as np
import pytest

from .conftest import Jobs

SAMPLES = 257
"""An epoch of three steps, the last of 57 samples."""

PROGRAM = """
import dataclasses
import sys
from pathlib import Path

import numpy as np

from cnn.cluster.ranks.run_job import run_job

def body(cluster, settings, job):
    import keras

    from cnn.cluster.exchange.exchange import make_exchange
    from cnn.data.feed.feed import Feed
    from cnn.data.order import SampleOrder
    from cnn.data.sources.registry import DataSettings, open_dataset
    from cnn.models.registry import ModelSettings, build_network
    from cnn.learner.evaluation import Evaluator
    from cnn.learner.metric_table import METRICS
    from cnn.optim.regularisation import RegularisationSettings
    from cnn.learner.step import TrainingStep

    for name in ("top5_accuracy", "class_accuracy"):
        METRICS[name] = dataclasses.replace(METRICS[name], in_training=True)
    dataset = open_dataset(DataSettings(data="digits"))
    model = build_network(ModelSettings(model="fcnn"), dataset.input_shape, dataset.classes, 1)
    feed = Feed(dataset, dataset.train, "float32", resident_mb=100)
    order = SampleOrder(np.arange(SAMPLES), 100, 1)
    step = TrainingStep(model, keras.optimizers.SGD(), feed, make_exchange(cluster), RegularisationSettings())
    results = step.run(order.plan(0, 3, cluster.rank, cluster.world_size), np.zeros(3))  # learns nothing
    evaluation = Evaluator(model, feed, np.arange(SAMPLES), cluster)()
    found = {}
    for where, totals in (("steps", results.totals), ("evaluation", evaluation.totals)):
        for name, total in totals.items():
            found[f"{where}/{name}/sums"], found[f"{where}/{name}/samples"] = total
    images = (dataset.train.images[:SAMPLES] / 255 - dataset.mean) / dataset.standard_deviation
    kernel, bias = (variable.value.numpy().astype(np.float64) for variable in model.variables)
    logits = images.reshape(SAMPLES, -1) @ kernel + bias
    found |= {"logits": logits, "labels": dataset.train.labels[:SAMPLES], "order": order.epoch_indices(0)}
    np.savez(Path(sys.argv[1], f"{cluster.rank}.npz"), **found)

run_job(lambda: None, body)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_counts_are_those_of_numpy(jobs: Jobs, tmp_path: Path, workers: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("SAMPLES", str(SAMPLES)))
    code, output = jobs.run(program, tmp_path, launcher="none" if workers == 1 else "mpirun", workers=workers)
    assert code == 0, output
    found = dict(np.load(tmp_path / "0.npz"))
    for rank in range(1, workers):
        other = np.load(tmp_path / f"{rank}.npz")
        assert all(other[name].tolist() == values.tolist() for name, values in found.items())

    logits, labels = found["logits"], found["labels"]
    before = (logits > logits[np.arange(SAMPLES), labels][:, np.newaxis]).sum(1)
    right, among_five = before < 1, before < 5
    assert 0 < right.sum() < among_five.sum() < SAMPLES
    steps = np.split(found["order"], [100, 200])
    for where, batches in (("steps", steps), ("evaluation", [np.arange(SAMPLES)])):
        expected = {
            "accuracy": [([right[batch].sum()], [len(batch)]) for batch in batches],
            "top5_accuracy": [([among_five[batch].sum()], [len(batch)]) for batch in batches],
            "class_accuracy": [
                (np.bincount(labels[batch], right[batch], 10), np.bincount(labels[batch], minlength=10))
                for batch in batches
            ],
        }
        for name, totals in expected.items():
            sums, samples = found[f"{where}/{name}/sums"], found[f"{where}/{name}/samples"]
            assert sums.dtype == np.int64
            assert np.array_equal(sums.reshape(len(batches), -1), [each for each, _ in totals]), (where, name)
            assert np.array_equal(samples.reshape(len(batches), -1), [each for _, each in totals]), (where, name)
