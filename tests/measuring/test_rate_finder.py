"""The range test of learning rates."""

from pathlib import Path

import numpy as np
import pytest

from cnn.cluster.ranks.collectives import Cluster
from cnn.errors import UserError
from cnn.measuring.rate_finder import RangeTest, RangeTestSettings, Settings, find_learning_rate
from cnn.settings.settings import parse_settings


def test_the_proposal_is_a_third_of_the_largest_rate_with_a_loss_near_the_lowest() -> None:
    """Wherever noise, here less than a hundredth of the decline, makes it the lowest."""
    rates = np.geomspace(1e-5, 10, 601)
    falling, rising = np.maximum(0, -2 - np.log10(rates)), 3 * np.maximum(0, np.log10(rates))
    for lowest in (340, 460):
        noise = np.zeros(601)
        noise[lowest - 20 : lowest + 20] = -0.02
        test = RangeTest(rates, 1 + falling + rising + noise)
        assert abs(test.best - lowest) <= 20
        # Where the loss has risen by a fifth of its decline from 4 to 1.
        assert rates[test.largest] == pytest.approx(10**0.2, rel=0.03)
        assert test.proposal == pytest.approx(rates[test.largest] / 3)
        assert not test.has_diverged
        assert f"try --learning_rate {test.proposal:.1e}, a third of {rates[test.largest]:.2g}." in test.describe()


@pytest.mark.parametrize("last", [np.nan, np.inf, 1e3])
def test_divergence(last: float) -> None:
    losses = np.append(np.r_[np.linspace(3, 1, 29), [1] * 11], last)
    test = RangeTest(np.geomspace(1e-3, 1, 41), losses)
    assert test.has_diverged
    assert test.largest == test.best == 31  # the last whose mean is without the last loss
    assert ", and diverged at 1: try" in test.describe()


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
        ({"range_steps": 23}, "--range_steps 23 is too few to see a curve: give at least 24"),
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
