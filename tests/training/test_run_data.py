"""What a run folder says of the data."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from cnn.data.dataset import Dataset, Part
from cnn.errors import UserError
from cnn.training.run_data import read_data, write_data

STRANGE = os.fsdecode(b"caf\xe9")


@pytest.fixture
def dataset() -> Dataset:
    part = Part(images=np.zeros((4, 73, 73, 3), np.uint8), labels=np.zeros(4, np.int32))
    return Dataset(
        name="folder",
        class_names=("größe", STRANGE),
        train=part,
        test=part,
        mean=(0.1, 0.2, 1 / 3),
        standard_deviation=(0.4, 0.5, 0.6),
        checksum="abc",
        input_size=64,
    )


def test_it_comes_back(tmp_path: Path, dataset: Dataset) -> None:
    write_data(tmp_path, dataset)
    data = read_data(tmp_path)
    for name in ("name", "image_shape", "input_shape", "mean", "standard_deviation", "checksum", "classes"):
        assert getattr(data, name) == getattr(dataset, name)
    assert data.class_names == ("größe", "caf\\xe9")  # can be printed
    images = np.random.default_rng(0).integers(0, 256, (2, 73, 73, 3), np.uint8)
    around = data.around(images)
    assert (around.image_shape, around.input_shape) == (dataset.image_shape, dataset.input_shape)
    assert np.array_equal(around.test.images, images)
    assert (around.mean, around.standard_deviation) == (dataset.mean, dataset.standard_deviation)


@pytest.mark.parametrize("content", ["", "[1]", '{"name": "x"}', '{"nonsense": 1}'])
def test_a_damaged_one_is_one_sentence(tmp_path: Path, dataset: Dataset, content: str) -> None:
    with pytest.raises(UserError, match="holds no data.json"):
        read_data(tmp_path)
    write_data(tmp_path, dataset)
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(UserError, match="cannot be read") as caught:
        read_data(tmp_path)
    assert "\n" not in str(caught.value)


def test_it_is_json_that_any_program_reads(tmp_path: Path, dataset: Dataset) -> None:
    write_data(tmp_path, dataset)
    assert json.loads((tmp_path / "data.json").read_bytes())["class_names"][0] == "größe"
