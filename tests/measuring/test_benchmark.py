"""Predictions from what was measured."""

import dataclasses
from pathlib import Path

import pytest

from cnn.errors import UserError
from cnn.measuring.benchmark import predicted
from cnn.measuring.benchmark_settings import BenchmarkSettings
from cnn.measuring.step_prediction import Layer

from .measured_example import MEASURED, RATES

ONE = dataclasses.replace(
    MEASURED,
    workers=1,
    global_batch_size=32,
    step_seconds=0.1,
    input_seconds=0.01,
    compute_seconds=0.07,
    update_seconds=0.02,
    rates=None,
    layers=[Layer(name="conv", parameters=1_000_000, multiply_adds=10**9)],
)
FOUR = dataclasses.replace(ONE, workers=4, rates=dataclasses.replace(RATES, latency=0.006))


def test_costs_come_from_the_measurement_with_most_workers() -> None:
    settings = BenchmarkSettings(predict=[2], link="100tbit")
    step = predicted(settings, [ONE, FOUR], "allreduce")[0]
    sent = 4_000_000
    assert step.sent_bytes == sent
    # 6 hops of four workers took 6 ms, so the 2 hops of two take 2 ms; copying 4 MB at 1 GB/s hides them.
    assert step.step_seconds == pytest.approx(0.08 + sent / 1e9 + 0.02)
    slow = dataclasses.replace(settings, link="80mbit")
    assert predicted(slow, [ONE, FOUR], "allreduce")[0].step_seconds == pytest.approx(0.08 + 0.002 + 0.4 + 0.02)


def test_costs_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "four.json").write_text(FOUR.to_json())
    settings = BenchmarkSettings(predict=[2, 8], link="1gbit")
    named = dataclasses.replace(settings, costs=str(tmp_path / "four.json"))
    assert predicted(named, [ONE], "auto") == predicted(settings, [ONE, FOUR], "auto")


def test_costs_of_one_worker_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(ONE.to_json())
    with pytest.raises(UserError, match="one.json was measured with one worker, which sends nothing"):
        BenchmarkSettings(costs=str(tmp_path / "one.json"))
