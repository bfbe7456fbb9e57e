"""The range test of learning rates."""

from pathlib import Path

import numpy as np
import pytest

from cnn.cluster.ranks.collectives import Cluster
from cnn.errors import UserError
from cnn.measuring.rate_finder import RangeTest, RangeTestSettings, Settings, find_learning_rate
from cnn.settings.settings import parse_settings


def test_the_proposal_is_a_tenth_of_the_rate_with_the_lowest_loss() -> None:
    rates = np.geomspace(1e-5, 10, 61)
    test = RangeTest(rates, np.abs(np.log10(rates)) + 1)
    assert rates[test.best] == pytest.approx(1)
    assert test.proposal == pytest.approx(0.1)
    assert not test.has_diverged
    assert f"try --learning_rate {test.proposal:.1e}, a tenth of it." in test.describe()


@pytest.mark.parametrize("last", [np.nan, np.inf, 1e3])
def test_divergence(last: float) -> None:
    losses = np.append(np.r_[np.linspace(3, 1, 15), [1] * 5], last)
    test = RangeTest(np.geomspace(1e-3, 1, 21), losses)
    assert test.has_diverged
    assert test.best == 15
    assert "and diverged at 1: try" in test.describe()


def test_ranges_in_which_nothing_is_found() -> None:
    rates = np.geomspace(1e-3, 1, 21)
    assert (
        RangeTest(rates, np.linspace(3, 1, 21))
        .describe()
        .endswith("of the last: repeat the test with a larger --highest_rate.")
    )
    assert "one of the first: repeat the test with a smaller" in RangeTest(rates, np.linspace(1, 3, 21)).describe()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lowest_rate": 1.0, "highest_rate": 0.1}, "--lowest_rate 1 and --highest_rate 0.1 are not two positive"),
        ({"lowest_rate": 0.0}, "--lowest_rate 0 "),
        ({"highest_rate": float("inf")}, "--highest_rate inf "),
        ({"range_steps": 9}, "--range_steps 9 is too few"),
    ],
)
def test_ranges_that_are_none(values: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        RangeTestSettings(**values)  # type: ignore[arg-type]


def test_a_network_s_rate_is_found_and_drawn(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CNN_CACHE_DIR", str(tmp_path))
    figure = tmp_path / "rates.png"

    def settings(*more: object) -> Settings:
        words = ["--model", "fcnn", "--optimizer", "sgd", "--figure", figure, *more]
        return parse_settings("", Settings, list(map(str, words)))

    find_learning_rate(cluster, settings("--highest_rate", 1e4))
    said = capsys.readouterr().out
    assert "fcnn on digits, " in said
    assert "and diverged at " in said
    assert figure.read_bytes().startswith(b"\x89PNG")
    found = float(said.partition("--learning_rate ")[2].partition(",")[0])
    find_learning_rate(cluster, settings("--highest_rate", 1e4, "--scale_learning_rate", 64))  # batches are of 128
    scaled = float(capsys.readouterr().out.partition("--learning_rate ")[2].partition(",")[0])
    assert 0.3 < 2 * scaled / found < 3
    with pytest.raises(UserError, match="is no name of a PNG file"):
        find_learning_rate(cluster, settings("--figure", tmp_path / "rates.svg"))
    with pytest.raises(UserError, match="cannot be written: its folder does not exist"):
        find_learning_rate(cluster, settings("--figure", tmp_path / "no" / "rates.png"))
