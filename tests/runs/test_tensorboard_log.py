"""What TensorBoard reads of a run: read back by its own reader."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnn.data.dataset import Dataset, Part
from cnn.learner.evaluation import Evaluation, WrongAnswer
from cnn.learner.first_images import ShownImages
from cnn.learner.totals import Total
from cnn.runs.tensorboard_log import TensorBoardLog
from cnn.settings.settings import training_defaults

PART = Part(images=np.full((20, 8, 8, 1), 7, np.uint8), labels=np.zeros(20, np.int32))


def dataset(classes: int) -> Dataset:
    names = tuple(f"class|{label}\n" for label in range(classes))
    return Dataset(
        name="some", class_names=names, train=PART, test=PART, mean=(0.5,), standard_deviation=(0.5,), checksum="0"
    )


def written(folder: Path, write: Callable[[TensorBoardLog], None], classes: int = 3) -> EventAccumulator:
    log = TensorBoardLog(folder, None, dataset(classes))
    write(log)
    log.close()
    assert log.problem() is None
    return EventAccumulator(str(folder), {"tensors": 0, "images": 0, "scalars": 0}).Reload()


def evaluation(confusion: np.ndarray, *worst: WrongAnswer) -> Evaluation:
    right, count = np.array([confusion.trace()]), np.array([confusion.sum()])
    return Evaluation(totals={"accuracy": Total(right, count)}, confusion=confusion, worst=worst)


def test_settings_tell_what_is_not_the_default(tmp_path: Path) -> None:
    settings = training_defaults() | {"model": "vgg16", "run_dir": "a|b\nc"}
    environment = {"versions": {"keras": "3"}, "topology": {"hosts": ["a", "b"], "arithmetic": [{"cpu": "x"}]}}
    events = written(tmp_path, lambda log: log.start(40, settings, environment))
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in ("settings", "environment")}
    assert "| model | vgg16 | lenet5-like |\n" in texts["settings"]
    assert "| run\\_dir | a\\|b\\\\nc | None |\n" in texts["settings"]
    assert "| epochs | 10 |  |\n" in texts["settings"]
    assert texts["environment"].splitlines()[2:] == [
        "| versions.keras | 3 |",
        "| topology.hosts | a, b |",
        "| topology.arithmetic.0.cpu | x |",
    ]
    assert {each.step for tag in texts for each in events.Tensors(tag)} == {40}


def test_an_evaluation_shows_each_class(tmp_path: Path) -> None:
    confusion = np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0]])
    worst = WrongAnswer(9.5, 11, 1, 2), WrongAnswer(9.0, 3, 0, 1)
    events = written(tmp_path, lambda log: log.evaluation("validation", 7, evaluation(confusion, *worst)))
    scalars = {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert scalars == {
        "accuracy/validation": [(7, 0.625)],
        "recall in validation/class|0\\n": [(7, 0.75)],
        "recall in validation/class|1\\n": [(7, 0.5)],
        "recall in validation/class|2\\n": [(7, 0.0)],
    }
    assert set(events.Tags()["images"]) == {"confusion/validation", "images/most wrong in validation"}
    (shown,) = events.Images("images/most wrong in validation")
    image = Image.open(io.BytesIO(shown.encoded_image_string))
    assert image.size == (shown.width, shown.height)
    assert (7, 7, 7) in {colour for _, colour in image.getcolors()}


@pytest.mark.parametrize(("classes", "curves"), [(40, 41), (41, 1)])
def test_many_classes_have_no_curve_each(tmp_path: Path, classes: int, curves: int) -> None:
    confusion = np.eye(classes, dtype=np.int64)
    events = written(tmp_path, lambda log: log.evaluation("validation", 7, evaluation(confusion)), classes)
    assert len(events.Tags()["scalars"]) == curves
    assert events.Tags()["images"] == ["confusion/validation"]


def test_the_last_evaluation_is_always_drawn(tmp_path: Path) -> None:
    def write(log: TensorBoardLog) -> None:
        for step in range(1, 101):
            log.evaluation("validation", step, evaluation(np.eye(3, dtype=np.int64)))
        log.trained()
        log.evaluation("test", 100, evaluation(np.eye(3, dtype=np.int64)))

    events = written(tmp_path, write)
    steps = [each.step for each in events.Images("confusion/validation")]
    assert steps[0] == 1
    assert steps[-1] == 100
    assert [each.step for each in events.Images("confusion/test")] == [100]


def test_weights_have_norms_by_layer_and_filters_a_picture(tmp_path: Path) -> None:
    weights = {
        "dense/kernel": np.full((2, 2), 2.0, np.float32),
        "conv/kernel": np.full((3, 3, 1, 4), 0.5, np.float32),
        "conv/bias": np.full(7, 1.0, np.float32),
        "conv_2/kernel": np.zeros((3, 3, 4, 4), np.float32),
    }
    events = written(tmp_path, lambda log: log.weights(5, weights, {"conv/kernel": 3.0, "conv/bias": 4.0}))
    scalars = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    assert scalars == {
        "norms of weights/dense": 4.0,
        "norms of weights/conv": 4.0,
        "norms of weights/conv_2": 0.0,
        "norms of gradients/conv": 5.0,
    }
    assert events.Tags()["images"] == ["images/first filters"]


@pytest.mark.parametrize(("precision", "large"), [(np.float32, 3e38), (np.float64, 1e200)])
def test_weights_of_a_diverging_training_have_infinite_norms(tmp_path: Path, precision: type, large: float) -> None:
    weights: dict[str, np.ndarray] = {
        "one/kernel": np.full((2, 2), large, precision),
        "two/kernel": np.full((3, 3, 1, 2), large, precision),
    }
    weights["two/kernel"][1] *= -1
    events = written(tmp_path, lambda log: log.weights(5, weights, {"one/kernel": 1e200}))
    assert {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]} == {
        "norms of weights/one": np.inf,
        "norms of weights/two": np.inf,
        "norms of gradients/one": np.inf,
    }


@pytest.mark.parametrize("shape", [(5, 5), (3, 3, 4, 4)])
def test_weights_that_are_no_filters_of_images_have_no_picture(tmp_path: Path, shape: tuple[int, ...]) -> None:
    events = written(tmp_path, lambda log: log.weights(5, {"first/kernel": np.ones(shape)}, {}))
    assert events.Tags()["images"] == []


def test_histograms_count_every_finite_weight(tmp_path: Path) -> None:
    weights = {"a/kernel": np.arange(60, dtype=np.float32).reshape(6, 10), "a/bias": np.array([1, np.nan, np.inf])}
    events = written(tmp_path, lambda log: log.histograms(3, weights))
    kernel, bias = (events.Histograms(f"weights/{name}")[0].histogram_value for name in weights)
    assert (kernel.num, kernel.min, kernel.max) == (60, 0, 59)
    assert kernel.bucket == [2.0] * 30
    assert (bias.num, sum(bias.bucket)) == (1, 1)


def test_first_images_have_their_labels_and_what_is_mixed_in(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path, None, dataset(3))
    images = np.zeros((4, 8, 8, 1), np.uint8)
    labels, partners = np.array([1, 2, 1, 1]), np.array([0, 0, 0, 2])
    shown = ShownImages(images, labels, partners, np.array([0.75, 0.999, 0.25, 0.0]))
    assert [log._caption(shown, place) for place in range(4)] == [
        "75 % class|1\\n\n25 % class|0\\n",
        "class|2\\n",
        "75 % class|0\\n\n25 % class|1\\n",
        "class|2\\n",
    ]
    assert log._caption(ShownImages(images, labels, None, None), 0) == "class|1\\n"
    log.first_images(4, shown)
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [each.step for each in events.Images("images/first step")] == [4]


def test_memory_is_that_of_this_process(tmp_path: Path) -> None:
    events = written(tmp_path, lambda log: log.memory(5))
    (point,) = events.Scalars("memory/peak of rank 0 (MB)")
    assert 50 < point.value < 1e6
