"""The fixtures of small trainings."""

from tests.small_training import cache, make_run  # noqa: F401
