"""Layers counted: VGG16's known figures, and the tutorial's table of output sizes."""

import re

import keras
import pytest

from cnn.models.layer_table import layer_rows, layer_table, output_size_table
from cnn.models.registry import ModelSettings, build_network


def test_lenet_layer_by_layer() -> None:
    rows = {row.name: row for row in layer_rows(build_network(ModelSettings(model="lenet5"), (28, 28, 1), 10, 1))}
    assert rows["conv1"].output_shape == (28, 28, 6)
    assert rows["pool2"].output_shape == (5, 5, 16)
    assert rows["conv2"].parameters == 5 * 5 * 6 * 16 + 16
    assert rows["conv2"].multiply_adds == 10 * 10 * 5 * 5 * 6 * 16
    assert rows["fc1"].multiply_adds == 400 * 120
    assert sum(row.parameters for row in rows.values()) == 61_706


def test_the_totals_are_those_of_the_rows() -> None:
    rows = layer_rows(build_network(ModelSettings(model="vgg16-bn-32"), (32, 32, 3), 10, 1))
    table = layer_table(rows)
    total = next(line for line in table.splitlines() if line.startswith("total"))
    assert total.split()[1:] == [
        f"{sum(row.parameters for row in rows):,}",
        f"{sum(row.multiply_adds for row in rows):,}",
    ]
    assert sum(row.multiply_adds for row in rows) == 313_463_808  # 313 million, as published for CIFAR


def test_mobilenet_has_the_papers_569_million_multiply_adds() -> None:
    rows = layer_rows(build_network(ModelSettings(model="mobilenet"), (224, 224, 3), 1000, 1))
    (depthwise,) = (row for row in rows if row.name == "block1_depthwise")
    assert depthwise.multiply_adds == 112 * 112 * 3 * 3 * 32
    assert sum(row.multiply_adds for row in rows) == 568_740_352


def test_the_tutorials_output_sizes() -> None:
    sizes = re.findall(r"^(\d)\s+(\d+)x\2\s+(\d+)x\3$", output_size_table(), re.MULTILINE)
    assert sizes == [("1", "28", "24"), ("2", "14", "12"), ("3", "10", "8"), ("4", "7", "6")]


def test_a_layer_whose_arithmetic_nobody_has_counted_is_refused_by_name() -> None:
    images = keras.Input((8, 8, 3))
    network = keras.Model(images, keras.layers.Conv1D(2, 3, name="rows")(keras.layers.Reshape((8, 24))(images)))
    with pytest.raises(TypeError, match="rows is a Conv1D, whose multiply-adds are unknown"):
        layer_rows(network)
