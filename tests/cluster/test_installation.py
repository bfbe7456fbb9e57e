"""Which rank is named when they differ."""

import pytest

from cnn.cluster.installation import odd_ones

HOSTS = ["x", "y", "z"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("aaa", []),
        ("aab", ["rank 2 (on z) is not as rank 0: code is b there, a here"]),
        ("baa", ["rank 0 (on x) is not as rank 1: code is b there, a here"]),  # two against one
        (
            "abc",
            [
                "rank 1 (on y) is not as rank 0: code is b there, a here",
                "rank 2 (on z) is not as rank 0: code is c there, a here",
            ],
        ),
    ],
)
def test_those_that_are_not_as_most(values: str, said: list[str]) -> None:
    assert odd_ones([{"code": value, "python": "3"} for value in values], HOSTS) == said


def test_what_is_missing_is_told() -> None:
    assert odd_ones([{"a": "1"}, {}], HOSTS) == ["rank 1 (on y) is not as rank 0: a is missing there, 1 here"]
