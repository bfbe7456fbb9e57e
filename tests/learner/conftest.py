"""The fixtures of small trainings."""

from tests.small_training import cache, cluster, float64, make_feed, make_network, make_run, part, stored  # noqa: F401
