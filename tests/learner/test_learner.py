"""What learns: groups follow from the network, and batches that cannot be divided are refused."""

import sys
import types
from collections.abc import Iterator

import keras
import numpy as np
import pytest
from tensorflow.python.framework import config

from cnn.cluster.ranks.collectives import Cluster
from cnn.data.dataset import Dataset
from cnn.data.sources.registry import open_dataset
from cnn.errors import UserError
from cnn.learner.assembly import assemble, build_model, check_batches, make_order
from cnn.models.blocks import classifier, convolution
from cnn.models.registry import NETWORKS, Network
from cnn.settings.settings import TrainingSettings, parse_settings

SAMPLES = np.arange(60)
"""Two batches of 24 and one of 12."""


@pytest.fixture
def data(cache, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("CNN_CACHE_DIR", str(cache))
    return open_dataset(settings_for().data)


@pytest.fixture
def arithmetic() -> Iterator[None]:
    yield
    config.disable_op_determinism()


@pytest.fixture(params=[False, True], ids=["plain", "normalised"])
def scratch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A network as one adds it, a file and a row, that says nothing of groups; with or without batch normalisation."""

    def build(image_shape: tuple[int, int, int], classes: int, *, normalised: bool) -> keras.Model:
        images = keras.Input(image_shape, name="images")
        x = convolution(images, 4, 3, normalised=normalised, name="conv1")
        return keras.Model(images, classifier(x, classes, 0, units=()), name="scratch")

    module = types.ModuleType("cnn.models.scratch")
    module.build = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    row = Network(family="scratch", options={"normalised": request.param}, smallest_image=1)
    monkeypatch.setitem(NETWORKS, "scratch", row)
    return bool(request.param)


def settings_for(*arguments: object) -> TrainingSettings:
    return parse_settings("", TrainingSettings, ["--data", "digits", *map(str, arguments)])


def test_a_network_is_trained_in_groups_if_one_of_its_layers_looks_at_groups(
    cluster: Cluster, data: Dataset, scratch: bool
) -> None:
    settings = settings_for("--model", "scratch", "--group_size", 8, "--optimizer", "momentum").learner
    model = build_model(settings, data)
    order = make_order(cluster, settings, model, SAMPLES, 24)
    assert order.group_size == (8 if scratch else 1)
    step = assemble(cluster, settings, data, order, model).make_step()
    losses = step.run(order.plan(0, 60, 0, 1), np.full(60, 0.01)).totals["loss"].mean
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])


def test_class_weights_are_those_of_the_training_samples(cluster: Cluster, data: Dataset) -> None:
    def weights(*arguments: object) -> np.ndarray | None:
        settings = settings_for("--model", "fcnn", *arguments).learner
        model = build_model(settings, data)
        return assemble(cluster, settings, data, make_order(cluster, settings, model, SAMPLES, 24), model).class_weights

    assert weights() is None
    counts = np.bincount(data.train.labels[SAMPLES], minlength=10)
    np.testing.assert_allclose(weights("--class_weights", "balanced"), 60 / (10 * counts), rtol=1e-15)
    assert len(set(counts)) > 1


def test_mixed_samples_are_in_groups_too(cluster: Cluster, data: Dataset) -> None:
    settings = settings_for("--model", "lenet5", "--group_size", 8, "--mixup", 0.2).learner
    assert make_order(cluster, settings, build_model(settings, data), SAMPLES, 24).group_size == 8


@pytest.mark.parametrize(
    ("workers", "group", "micro", "message"),
    [
        (25, 1, None, "--global_batch_size 24 is too small for 25 workers: each needs at least one sample, so give"),
        (
            4,
            8,
            None,
            "too small for 4 workers: each needs at least one group of 8 samples, so .* a smaller --group_size",
        ),
        (3, 8, 12, "--micro_batch_size 12 is not a multiple of --group_size 8, .*: give 16, or another group size."),
    ],
)
def test_a_batch_that_cannot_be_divided_is_refused(workers: int, group: int, micro: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_batches(24, workers, group, micro)
    check_batches(25, workers, group, 16 if micro else None)


def test_the_batches_of_an_order_are_checked(cluster: Cluster, data: Dataset) -> None:
    settings = settings_for("--model", "resnet18-32", "--group_size", 8, "--micro_batch_size", 12).learner
    with pytest.raises(UserError, match="--micro_batch_size 12 is not a multiple of --group_size 8"):
        make_order(cluster, settings, build_model(settings, data), SAMPLES, 24)


def test_a_reproducible_run_has_groups_and_does_not_round_what_it_sends(cluster: Cluster, data: Dataset) -> None:
    settings = settings_for("--model", "lenet5", "--group_size", 8, "--reproducible").learner
    assert make_order(cluster, settings, build_model(settings, data), SAMPLES, 24).group_size == 8
    with pytest.raises(UserError, match="--reproducible excludes --compression float16, whose rounding .*: leave one"):
        settings_for("--reproducible", "--compression", "float16")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["--reproducible"], "--exchange sharded excludes --reproducible, whose sums .*: leave one of them out"),
        (["--xla"], "--exchange sharded excludes --xla, because .*: leave one of them out"),
        (
            ["--compression", "float16"],
            "--exchange sharded excludes --compression float16, which .*: leave one of them",
        ),
    ],
)
def test_what_kernels_cannot_be_divided_with(settings: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        settings_for("--exchange", "sharded", *settings)
    assert settings_for(*settings).learner.against_sharding
    assert not settings_for("--exchange", "sharded").learner.against_sharding


@pytest.mark.usefixtures("arithmetic")
def test_only_kernels_that_repeat_their_bits_are_used_if_asked_for(data: Dataset) -> None:
    build_model(settings_for().learner, data)
    assert not config.is_op_determinism_enabled()
    build_model(settings_for("--deterministic").learner, data)
    assert config.is_op_determinism_enabled()
