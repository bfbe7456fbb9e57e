"""The model of a step's time with hundreds of GPUs: beside published scaling, and as docs/speed.md has it."""

import functools
import math
import re
from pathlib import Path

import keras
import pytest

from cnn.cluster.exchange.exchange_cost import WAYS
from cnn.measuring.benchmark import layers_of
from cnn.measuring.step_prediction import Costs, Layer, parse_rate, predict
from cnn.models.registry import ModelSettings, build_network

PAGE = Path(__file__).parents[2] / "docs" / "speed.md"

ROW = re.compile(
    r"^\|(?: (\w+), ([\d,]+) each)? \| (\d+gbit) \| (\d+) %, (\d+) % \| (\d+) %, (\d+) % \|$", re.MULTILINE
)

H100 = 0.4 * 989e12
"""Operations per second: two fifths of the peak of NVIDIA's H100 SXM in bfloat16."""

H100_MEMORY = 3.35e12
"""Bytes per second."""


@functools.cache
def layers(model: str) -> list[Layer]:
    with keras.StatelessScope(initialize_variables=False):  # the weights are not needed
        return layers_of(build_network(ModelSettings(model=model), (224, 224, 3), 1000, 1))


@pytest.mark.parametrize(
    ("model", "images_per_second", "workers", "published", "deviation"),
    [
        ("vgg16", 154.0, 128, 0.79, 0.04),
        ("vgg16", 154.0, 512, 0.68, 0.04),
        ("resnet101", 104.0, 128, 0.90, 0.09),
        ("resnet101", 104.0, 512, 0.90, 0.09),
    ],
)
def test_horovod_on_pascal_gpus(
    model: str, images_per_second: float, workers: int, published: float, deviation: float
) -> None:
    """Servers of four GPUs with a link of 25 Gbit/s, which a ring uses once (Horovod's page on benchmarks, 2017, 2018).

    The speeds of one P100 with 64 images are from TensorFlow's benchmarks of 2017 (VGG16) and, as a sixteenth of 16
    GPUs, from Horovod's page. With NCCL's rings of that time, a message between two servers took some 10 microseconds.
    """
    alone = 64 / images_per_second
    costs = Costs(
        compute_seconds=alone,
        update_seconds=0.0,
        latency=10e-6,
        link_rate=parse_rate("25gbit"),
        host_seconds_per_byte=0.0,
        multiply_adds_per_second=5e12,
    )
    step = predict(layers(model), costs, samples=64, workers=workers, exchange="allreduce").step_seconds
    assert alone / step == pytest.approx(published, abs=deviation)


def efficiency(model: str, samples: int, workers: int, link: str, number_bytes: int) -> float:
    """The predicted efficiency of H100 GPUs with a link each and NCCL's trees, 5 microseconds for each level."""
    network = layers(model)
    update = 20 * sum(layer.parameters for layer in network) / H100_MEMORY  # gradient; weights, momentum: read, written
    alone = 6 * samples * sum(layer.multiply_adds for layer in network) / H100 + update
    costs = Costs(
        compute_seconds=alone - update,
        update_seconds=update,
        latency=5e-6 * math.log2(workers) / (workers - 1),
        link_rate=parse_rate(link),
        host_seconds_per_byte=0.0,
        multiply_adds_per_second=H100 / 2,
    )
    possible = WAYS if number_bytes == 4 else ("allreduce", "factored")  # --compression float16 excludes sharding
    step = predict(network, costs, samples=samples, workers=workers, number_bytes=number_bytes, possible=possible)
    return alone / step.step_seconds


def test_the_page_has_what_the_model_predicts_for_newer_gpus() -> None:
    model, samples, found = "", 0, []
    for name, each, link, *percent in ROW.findall(PAGE.read_text()):
        if name:
            model, samples = name.lower(), int(each.replace(",", ""))
        predicted = [efficiency(model, samples, workers, link, size) for workers in (64, 512) for size in (4, 2)]
        assert [round(100 * value) for value in predicted] == [int(value) for value in percent], (model, samples, link)
        found.append((model, link))
    assert len(found) == 12
