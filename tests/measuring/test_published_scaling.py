"""The model of a step's time with hundreds of GPUs: beside published scaling, and as docs/speed.md has it."""

import functools
import math
import re
from pathlib import Path

import keras

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


def pascal_efficiency(model: str, workers: int) -> float:
    """The predicted efficiency with 64 images a GPU: four P100 in a server, whose link of 25 Gbit/s a ring uses once.

    The speed of a GPU is that of TensorFlow's benchmarks of 2017 for VGG16, and for ResNet-101 a sixteenth of that of
    16 GPUs on Horovod's page of benchmarks. The latency of a hop is chosen so that VGG16 agrees.
    """
    alone = 64 / {"vgg16": 154.0, "resnet101": 104.0}[model]
    costs = Costs(
        compute_seconds=alone,
        update_seconds=0.0,
        latency=10e-6,
        link_rate=parse_rate("25gbit"),
        host_seconds_per_byte=0.0,
        multiply_adds_per_second=5e12,
    )
    return alone / predict(layers(model), costs, samples=64, workers=workers, exchange="allreduce").step_seconds


def test_horovod_on_pascal_gpus() -> None:
    """Horovod's page of benchmarks had figures for 128 GPUs in 2017, and has those for 512 since 2018."""
    published = {("vgg16", 128): 79, ("vgg16", 512): 68, ("resnet101", 128): 90, ("resnet101", 512): 90}
    predicted = {key: round(100 * pascal_efficiency(*key)) for key in published}
    assert all(abs(predicted[key] - published[key]) <= (3 if key[0] == "vgg16" else 8) for key in published), predicted
    assert "The model gives {}, {}, {} and {} %".format(*predicted.values()) in " ".join(PAGE.read_text().split())


def h100_efficiency(model: str, samples: int, workers: int, link: str, gradient_bytes: int) -> float:
    """The predicted efficiency of H100 GPUs that compute in bfloat16, with a link each.

    A message has the latency of NCCL's trees, 5 microseconds for each level.
    """
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
    possible = WAYS if gradient_bytes == 4 else ("allreduce", "factored")  # --compression float16 excludes sharding
    step = predict(
        network,
        costs,
        samples=samples,
        workers=workers,
        gradient_bytes=gradient_bytes,
        factor_bytes=2,
        possible=possible,
    )
    return alone / step.step_seconds


def test_the_page_has_what_the_model_predicts_for_newer_gpus() -> None:
    model, samples, found = "", 0, []
    for name, each, link, *percent in ROW.findall(PAGE.read_text()):
        if name:
            model, samples = name.lower(), int(each.replace(",", ""))
        predicted = [h100_efficiency(model, samples, workers, link, size) for workers in (64, 512) for size in (4, 2)]
        assert [round(100 * value) for value in predicted] == [int(value) for value in percent], (model, samples, link)
        found.append((model, link))
    assert len(found) == 12
