"""The model of steps on other links, in cases that can be counted by hand."""

import dataclasses
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cnn.cluster.exchange.exchange_cost import Kernel
from cnn.errors import UserError
from cnn.measuring.step_prediction import Costs, Layer, parse_rate, predict
from tests.hostile import read_or_sentence

CONV = Layer(name="conv", parameters=250_000, multiply_adds=3_000_000)
DENSE = Layer(
    name="fc",
    parameters=4_000_000,
    multiply_adds=1_000_000,
    kernel=Kernel(path="fc/kernel", inputs=2000, outputs=2000),
)
COSTS = Costs(
    compute_seconds=3.0,
    update_seconds=0.5,
    latency=0.0,
    link_rate=1e6,
    host_seconds_per_byte=0.0,
    multiply_adds_per_second=1e12,
)


def test_one_worker_has_nothing_to_exchange() -> None:
    step = predict([CONV, DENSE], COSTS, samples=10, workers=1)
    assert (step.step_seconds, step.exchange_seconds, step.sent_bytes) == (3.5, 0.0, 0)


def test_a_sum_waits_for_its_gradient_and_the_step_for_the_sum() -> None:
    """A megabyte, which is ready when all is computed."""
    step = predict([CONV], COSTS, samples=10, workers=2)
    assert step.sent_bytes == 1_000_000
    assert step.step_seconds == pytest.approx(3.0 + 1.0 + 0.5)
    assert predict([CONV], COSTS, samples=10, workers=4).step_seconds == pytest.approx(3.0 + 1.5 + 0.5)


def test_what_is_ready_early_travels_meanwhile() -> None:
    """Forward takes a second; of the backward pass's two the upper layer has three quarters less, 1.5 s are left."""
    upper = dataclasses.replace(CONV, name="upper", multiply_adds=1_000_000)
    lower = dataclasses.replace(CONV, name="lower", parameters=0)
    step = predict([lower, upper], COSTS, samples=10, workers=2)
    assert step.step_seconds == pytest.approx(3.5)  # a second of sending is hidden in 1.5 s
    slow = dataclasses.replace(COSTS, link_rate=0.5e6)
    assert predict([lower, upper], slow, samples=10, workers=2).step_seconds == pytest.approx(1.5 + 2.0 + 0.5)


def test_factors_are_sent_where_they_are_less() -> None:
    step = predict([DENSE], COSTS, samples=10, workers=2)
    assert step.sent_bytes == 10 * 4000 * 4
    assert predict([DENSE], COSTS, samples=10, workers=2, exchange="allreduce").sent_bytes == 16_000_000
    assert predict([DENSE], COSTS, samples=2000, workers=2).sent_bytes == 16_000_000
    slow = dataclasses.replace(COSTS, multiply_adds_per_second=1e6)  # 40 s for what others' samples add
    assert predict([DENSE], slow, samples=10, workers=2, possible=["allreduce", "factored"]).sent_bytes == 16_000_000


def test_a_sharded_layer_waits_for_its_messages_and_saves_products_and_update() -> None:
    """Each of four ranks has 500 rows: it sends 500 columns and 2,000 outputs to three others, and back."""
    slow = dataclasses.replace(COSTS, multiply_adds_per_second=0.1e9)  # 1.2 s for what others' samples add
    step = predict([DENSE], slow, samples=10, workers=4)
    assert step.sent_bytes == 3 * 10 * 2 * (500 + 2000) * 4 == 600_000
    assert step.step_seconds == pytest.approx(3.0 + 0.6 + 0.5 / 4)
    assert step.exchange_seconds == pytest.approx(0.6 - 0.5 * 3 / 4)
    factored = predict([DENSE], slow, samples=10, workers=4, exchange="factored")
    assert factored.sent_bytes == 3 * 10 * 4000 * 4
    far = dataclasses.replace(slow, latency=0.01)  # three hops to gather, and one for each other message
    of_the_rest = 6 * 0.01
    expected = pytest.approx(3.0 + 0.6 + 6 * 0.01 + of_the_rest + 0.5 / 4)
    assert predict([DENSE], far, samples=10, workers=4).step_seconds == expected


def test_latency_counts_each_hop_of_each_message() -> None:
    far = dataclasses.replace(COSTS, latency=0.1, link_rate=1e12)
    assert predict([CONV], far, samples=10, workers=4).step_seconds == pytest.approx(3.5 + 6 * 0.1)


def test_bytes_cost_the_core() -> None:
    busy = dataclasses.replace(COSTS, host_seconds_per_byte=1e-6, link_rate=1e12)
    assert predict([CONV], busy, samples=10, workers=2).step_seconds == pytest.approx(3.5 + 1.0)


@given(st.integers(2, 1000), st.floats(1e5, 1e10), st.integers(1, 512))
def test_no_choice_sends_more_and_a_faster_link_is_never_slower(workers: int, rate: float, samples: int) -> None:
    costs = dataclasses.replace(COSTS, link_rate=rate)
    layers = [CONV, DENSE]
    chosen = predict(layers, costs, samples=samples, workers=workers)
    assert chosen.step_seconds >= 3.0
    summed = predict(layers, costs, samples=samples, workers=workers, exchange="allreduce")
    assert chosen.sent_bytes <= summed.sent_bytes * 1.001
    faster = predict(layers, dataclasses.replace(costs, link_rate=2 * rate), samples=samples, workers=workers)
    # Where a faster link makes sharding unnecessary, each rank updates the whole kernel again.
    assert faster.step_seconds <= chosen.step_seconds * 1.001 + COSTS.update_seconds


@pytest.mark.parametrize(
    ("text", "rate"), [("100mbit", 12.5e6), ("1.5gbit", 187.5e6), ("8kbit", 1e3), ("1tbit", 1.25e11)]
)
def test_rates(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "fast", "100", "0gbit", "-1gbit", "1e3mbit", "100 mbit", "infgbit", "10Gbit", "1gbit\n"]
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(UserError, match="is not the rate of a link: set a number and a unit, for example 100mbit"):
        parse_rate(text)


@pytest.mark.parametrize(
    "text", ["9" * 400 + "gbit", "1" + "0" * 307 + "tbit", "0." + "0" * 320 + "1kbit", "\u0663gbit"]
)
def test_rates_that_cannot_be_computed_with(text: str) -> None:
    test_what_is_no_rate(text)


@given(st.text(max_size=9) | st.from_regex(r"\A[0-9]{1,400}(\.[0-9]{0,400})?[kmgt]bit\Z"))
@example("0.1kbit")  # less than a byte in the time of a message
def test_any_text_is_a_rate_or_one_sentence(text: str) -> None:
    rate = read_or_sentence(lambda: parse_rate(text), "is not the rate of a link", UserError)
    if rate is not None:
        costs = dataclasses.replace(COSTS, link_rate=rate)
        assert math.isfinite(predict([CONV, DENSE], costs, samples=10, workers=8).step_seconds)
