"""What a run folder says of the data."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.data.dataset import Dataset, Part
from cnn.errors import UserError
from cnn.runs.data_record import read_data, write_data
from tests.hostile import DEEP, altered, altered_json, examples, read_or_sentence

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
    with pytest.raises(UserError, match="which wrote no data.json"):
        read_data(tmp_path)
    write_data(tmp_path, dataset)
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(UserError, match="cannot be read") as caught:
        read_data(tmp_path)
    assert "\n" not in str(caught.value)


def test_it_is_json_that_any_program_reads(tmp_path: Path, dataset: Dataset) -> None:
    write_data(tmp_path, dataset)
    assert json.loads((tmp_path / "data.json").read_bytes())["class_names"][0] == "größe"


@pytest.mark.parametrize(
    "changed",
    [
        {"class_names": []},
        {"image_shape": [73, 0, 3]},
        {"input_shape": [64, 64, 1]},
        {"mean": [0.1, 0.2]},
        {"mean": [0.1, 0.2, float("nan")]},
        {"standard_deviation": [0.4, 0.5, float("inf")]},
        {"standard_deviation": [0.4, 0.5, -0.1]},
        {"standard_deviation": [0.4, 0.5, 1e300]},
        {"mean": [0.1, 0.2, 255]},
        {"image_shape": [100_000, 100_000, 3]},
        {"input_shape": [74, 74, 3]},
    ],
    ids=str,
)
def test_values_that_do_not_belong_together(tmp_path: Path, dataset: Dataset, changed: dict[str, list]) -> None:
    write_data(tmp_path, dataset)
    file = tmp_path / "data.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    with pytest.raises(UserError, match="data.json cannot be read"):
        read_data(tmp_path)


@examples(120)
@given(st.data())
def test_any_file_is_that_of_a_data_set_or_one_sentence(tmp_path: Path, dataset: Dataset, data: st.DataObject) -> None:
    file = tmp_path / "data.json"
    if not (tmp_path / "whole").exists():
        write_data(tmp_path, dataset)
        file.rename(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    changed = data.draw(altered_json(json.loads(whole)))
    file.write_bytes(data.draw(altered(whole) | st.just(json.dumps(changed).encode()) | st.just(DEEP)))
    found = read_or_sentence(lambda: read_data(tmp_path), str(file), UserError)
    if found is not None:
        assert found.classes > 0
        assert min(*found.image_shape, *found.input_shape) > 0
        assert len(found.mean) == len(found.standard_deviation) == found.input_shape[2]
        assert np.isfinite([*found.mean, *found.standard_deviation]).all()
        assert all(isinstance(name, str) for name in (found.name, found.checksum, *found.class_names))


def test_names_of_a_stranger_do_nothing(tmp_path: Path, dataset: Dataset) -> None:
    write_data(tmp_path, dataset)
    file = tmp_path / "data.json"
    names = ["\x1b[2J", "two\nlines", "right\u202eleft"]
    file.write_text(json.dumps({**json.loads(file.read_text()), "class_names": names, "name": names[0]}))
    assert read_data(tmp_path).class_names == ("\\x1b[2J", "two\\nlines", "right\\u202eleft")
    assert read_data(tmp_path).name == "\\x1b[2J"


def test_what_is_not_ours_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"daemon:x:0:0:\xe9")
    (tmp_path / "data.json").symlink_to("secret")
    with pytest.raises(UserError, match="cannot be read") as caught:
        read_data(tmp_path)
    assert "daemon" not in str(caught.value)
    (tmp_path / "data.json").unlink()
    os.mkfifo(tmp_path / "data.json")
    with pytest.raises(UserError, match="it is not a file"):
        read_data(tmp_path)
