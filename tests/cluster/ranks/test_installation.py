"""Which rank is named when they differ."""

import pytest

from cnn.cluster.ranks.installation import disagreements

HOSTS = ["x", "y", "z"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("aaa", []),
        ("aab", ["rank 2 (on z) differs from rank 0: code is b instead of a"]),
        ("baa", ["rank 0 (on x) differs from rank 1: code is b instead of a"]),  # two against one
        (
            "abc",
            [
                "rank 1 (on y) differs from rank 0: code is b instead of a",
                "rank 2 (on z) differs from rank 0: code is c instead of a",
            ],
        ),
    ],
)
def test_those_that_are_not_as_most(values: str, said: list[str]) -> None:
    assert disagreements([{"code": value, "python": "3"} for value in values], HOSTS) == said


def test_what_is_missing_is_told() -> None:
    assert disagreements([{"a": "1"}, {}], HOSTS) == ["rank 1 (on y) differs from rank 0: a is missing instead of 1"]
