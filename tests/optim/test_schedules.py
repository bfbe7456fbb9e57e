"""Learning rates by step."""

import numpy as np
import pytest

from cnn.errors import UserError
from cnn.optim.schedules import SCHEDULES, ScheduleSettings, learning_rates


def test_constant() -> None:
    assert learning_rates(ScheduleSettings(), 0.1, 7, 3, 10, 100).tolist() == [0.1] * 3


def test_exponential() -> None:
    settings = ScheduleSettings(schedule="exponential", decay_rate=0.5, decay_epochs=2)
    rates = learning_rates(settings, 0.8, 0, 81, 10, 90)
    assert rates[0] == 0.8
    np.testing.assert_allclose(rates[[10, 20, 40, 80]], [0.8 * 0.5**0.5, 0.4, 0.2, 0.05], rtol=1e-14)
    np.testing.assert_allclose(rates[1:] / rates[:-1], 0.5 ** (1 / 20), rtol=1e-13)
    assert rates.dtype == np.float64


def test_step() -> None:
    settings = ScheduleSettings(schedule="step", decay_rate=0.1, decay_epochs=2)
    rates = learning_rates(settings, 1.0, 0, 50, 10, 50)
    np.testing.assert_allclose(rates, [1.0] * 20 + [0.1] * 20 + [0.01] * 10, rtol=1e-14)


def test_cosine_ends_at_zero_whatever_the_length() -> None:
    for total in (40, 100):
        rates = learning_rates(ScheduleSettings(schedule="cosine"), 0.3, 0, total + 1, 10, total)
        assert rates[0] == 0.3
        assert rates[total // 2] == pytest.approx(0.15)
        assert rates[total] == 0
        assert (np.diff(rates) < 0).all()


def test_linear_falls_to_zero_by_equal_parts() -> None:
    rates = learning_rates(ScheduleSettings(schedule="linear"), 0.4, 0, 41, 10, 40)
    np.testing.assert_allclose(rates, [0.4 * (40 - step) / 40 for step in range(41)], atol=1e-16)
    warmed_up = learning_rates(ScheduleSettings(schedule="linear", warmup_epochs=2), 0.4, 0, 61, 10, 60)
    np.testing.assert_allclose(warmed_up[20:], [0.4 * (60 - step) / 40 for step in range(20, 61)], atol=1e-16)


def test_warm_up_rises_by_equal_parts_to_the_schedule_s_rate() -> None:
    constant = learning_rates(ScheduleSettings(warmup_epochs=2), 0.1, 0, 30, 10, 30)
    np.testing.assert_allclose(constant, [0.1 * min(1, (step + 1) / 20) for step in range(30)])
    cosine = learning_rates(ScheduleSettings(schedule="cosine", warmup_epochs=2), 0.1, 0, 61, 10, 60)
    assert np.argmax(cosine) in (19, 20)
    assert cosine[[20, 40, 60]] == pytest.approx([0.1, 0.05, 0])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_do_not_depend_on_where_a_call_begins(schedule: str) -> None:
    settings = ScheduleSettings(schedule=schedule, warmup_epochs=2, decay_epochs=1)
    whole = learning_rates(settings, 0.1, 0, 30, 7, 30)
    parts = [learning_rates(settings, 0.1, first, 10, 7, 30) for first in (0, 10, 20)]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"schedule": "exponentail"}, "unknown schedule 'exponentail'.*Did you mean 'exponential'"),
        ({"decay_rate": 0.0}, "--decay_rate 0.0"),
        ({"decay_rate": 1.5}, "--decay_rate 1.5"),
        ({"decay_rate": float("nan")}, "--decay_rate nan"),
        ({"decay_epochs": 0.0}, "--decay_epochs 0.0"),
        ({"decay_epochs": -1.0}, "--decay_epochs -1.0"),
        ({"decay_epochs": float("nan")}, "--decay_epochs nan"),
        ({"warmup_epochs": -1.0}, "--warmup_epochs -1.0"),
        ({"warmup_epochs": float("inf")}, "--warmup_epochs inf"),
    ],
)
def test_impossible_settings(wrong: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        ScheduleSettings(**wrong)


@pytest.mark.parametrize("warmup_epochs", [0, 1000])
def test_what_depends_on_the_end_is_seen_from_the_rates(warmup_epochs: float) -> None:
    depending = [
        name for name in SCHEDULES if ScheduleSettings(schedule=name, warmup_epochs=warmup_epochs).depends_on_the_end
    ]
    assert depending == ["cosine", "linear"]
