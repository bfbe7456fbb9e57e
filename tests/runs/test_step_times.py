"""The times of steps: when they are compared, and which causes are named when."""

import numpy as np

from cnn.cluster.ranks.collectives import Cluster
from cnn.learner.step_message import Reports
from cnn.learner.step_results import Diagnostics, StepResults
from cnn.monitoring.timing.bottlenecks import StepTimes
from cnn.runs.step_times import StepTimer

from ..circumstances import ALONE

STREAMED = ALONE._replace(samples=8, streamed_mb=100)


def results(steps: int, computing: float) -> StepResults:
    zeros = np.zeros(steps)
    each = np.full(steps, computing)
    return StepResults({}, Reports(), Diagnostics(zeros > 0, each / 2, each, zeros, zeros), {})


def test_times_are_means_over_the_steps_since_the_last_comparison(cluster: Cluster) -> None:
    timer = StepTimer(cluster, STREAMED)
    assert timer.compare() == []
    timer.add(3.0, 0.5, results(2, 0.75))
    timer.add(1.0, 0.0, results(2, 0.25))
    assert timer.compare() == [
        StepTimes(1.0, 0.125, loss=0.25, computing=0.5, exchange=0.0, usual_loss=0.25, usual_exchange=0.0)
    ]
    assert timer.compare() == []


def test_a_cause_is_named_once_and_only_after_some_time(cluster: Cluster) -> None:
    timer = StepTimer(cluster, STREAMED)
    named = []
    for _ in range(10):
        timer.add(5.0, 2.0, results(5, 0.5))
        named.append(timer.newly_found(timer.compare()))
    assert [len(each) for each in named] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert "input is the limit" in named[3][0].sentence
    times, limits = timer.overall()
    assert times == StepTimes(1.0, 0.4, loss=0.25, computing=0.5, exchange=0.0, usual_loss=0.25, usual_exchange=0.0)
    assert [cause for cause, _ in limits] == ["input"]


def test_a_cause_that_appears_later_is_named(cluster: Cluster) -> None:
    timer = StepTimer(cluster, STREAMED)
    timer.add(100.0, 0.0, results(100, 0.9))
    assert timer.newly_found(timer.compare()) == []
    timer.add(25.0, 10.0, results(25, 0.5))
    assert len(timer.newly_found(timer.compare())) == 1
