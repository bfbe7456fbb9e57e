"""The file of what a benchmark measures."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn.cluster.exchange.exchange_cost import Rates
from cnn.errors import UserError
from cnn.measuring.measured import read_measured
from cnn.measuring.step_prediction import Layer
from tests.hostile import DEEP, altered, altered_json, examples, read_or_sentence

from .measured_example import MEASURED, RATES


@pytest.mark.parametrize(("workers", "rates"), [(2, RATES), (1, None)])
def test_it_comes_back(tmp_path: Path, workers: int, rates: Rates | None) -> None:
    measured = dataclasses.replace(MEASURED, workers=workers, rates=rates)
    (tmp_path / "m.json").write_text(measured.to_json())
    assert read_measured(tmp_path / "m.json") == measured


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", 0),
        ("workers", 10**400),
        ("spread", float("nan")),
        ("sent_bytes", -1),
        ("workers", 1),
        ("rates", dataclasses.asdict(dataclasses.replace(RATES, latency=float("inf")))),
        ("rates", dataclasses.asdict(dataclasses.replace(RATES, sent_per_second=0.0))),
    ],
)
def test_numbers_that_cannot_be_measured(tmp_path: Path, name: str, value: object) -> None:
    (tmp_path / "m.json").write_text(json.dumps({**dataclasses.asdict(MEASURED), name: value}))
    with pytest.raises(UserError, match="m.json was not written by --output"):
        read_measured(tmp_path / "m.json")


@examples(200)
@given(
    altered(MEASURED.to_json().encode())
    | altered_json(json.loads(MEASURED.to_json())).map(lambda values: json.dumps(values).encode())
    | st.just(DEEP)
)
def test_any_file_is_measurements_or_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(content)
    found = read_or_sentence(lambda: read_measured(path), str(path), UserError)
    if found is not None:
        assert found.workers > 0
        assert 0 <= found.exchange_seconds < float("inf")
        assert found.rates is None or found.rates.sent_per_second > 0
        assert all(isinstance(layer, Layer) for layer in found.layers)
