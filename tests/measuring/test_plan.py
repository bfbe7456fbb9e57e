"""How a plan is requested."""

import dataclasses

import pytest

from cnn.cluster.exchange.exchange_cost import ExchangeSettings
from cnn.errors import UserError
from cnn.measuring.plan import PlanSettings
from cnn.settings.settings import parse_settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    plan: PlanSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    plan: PlanSettings
    exchange: ExchangeSettings


def workers(*words: str) -> int:
    return parse_settings("", Settings, words).plan.workers


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], 0),
        (["--plan"], 1),
        (["--plan", "8"], 8),
        (["--plan=3"], 3),
        (["--plan", "--link", "1gbit"], 1),
        (["--plan", "true"], 1),
        (["--no_plan"], 0),
        (["--plan", "2", "--plan", "false"], 0),
    ],
)
def test_the_number_of_workers_may_be_left_out(words: list[str], expected: int) -> None:
    assert workers(*words) == expected


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--plan", "0"], ["--plan 0", "1 or more", "--plan 8"]),
        (["--plan", "-2"], ["--plan -2"]),
        (["--plan", "many"], ["--plan", "'many'", "whole number"]),
        (["--plan", "--link", "fast"], ["'fast'", "25gbit"]),
    ],
)
def test_mistakes_are_named(words: list[str], parts: list[str]) -> None:
    with pytest.raises(UserError) as error:
        workers(*words)
    for part in parts:
        assert part in str(error.value)


def test_printed_settings_leave_the_plan_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings("", Program, ["--plan", "3", "--exchange", "allreduce", "--print_config"])
    assert capsys.readouterr().out == "exchange: allreduce\ncompression: none\n"
