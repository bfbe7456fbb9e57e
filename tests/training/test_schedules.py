"""Learning rates by step."""

import numpy as np
import pytest

from cnn.errors import UserError
from cnn.training.schedules import ScheduleSettings, learning_rates


def test_constant() -> None:
    assert learning_rates(ScheduleSettings(), 0.1, 7, 3, 10).tolist() == [0.1] * 3


def test_exponential() -> None:
    settings = ScheduleSettings(schedule="exponential", decay_rate=0.5, decay_epochs=2)
    rates = learning_rates(settings, 0.8, 0, 81, 10)
    assert rates[0] == 0.8
    np.testing.assert_allclose(rates[[10, 20, 40, 80]], [0.8 * 0.5**0.5, 0.4, 0.2, 0.05], rtol=1e-14)
    np.testing.assert_allclose(rates[1:] / rates[:-1], 0.5 ** (1 / 20), rtol=1e-13)
    assert rates.dtype == np.float64


@pytest.mark.parametrize("schedule", ["constant", "exponential"])
def test_rates_do_not_depend_on_where_a_call_begins(schedule: str) -> None:
    settings = ScheduleSettings(schedule=schedule)
    whole = learning_rates(settings, 0.1, 0, 30, 7)
    parts = [learning_rates(settings, 0.1, first, 10, 7) for first in (0, 10, 20)]
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
    ],
)
def test_impossible_settings(wrong: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        ScheduleSettings(**wrong)
