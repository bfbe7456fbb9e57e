"""Which causes of slow steps are named, and with which remedy."""

import pytest

from cnn.monitoring.timing.bottlenecks import Circumstances, StepTimes, bottlenecks

from ...circumstances import ALONE

RUN = ALONE._replace(hosts=["node-a", "node-b", "node-c"], sent_bytes=200_000_000, spare_mb=4000, can_compress=True)


def steady(total: float, input: float, *, loss: float, computing: float, exchange: float) -> StepTimes:
    """Of a rank that takes the same time for each step."""
    return StepTimes(total, input, loss, computing, exchange, usual_loss=loss, usual_exchange=exchange)


HEALTHY = steady(1.0, 0.001, loss=0.3, computing=0.9, exchange=0.05)


def found(ranks: list[StepTimes], run: Circumstances = RUN) -> dict[str, str]:
    return dict(bottlenecks(ranks, run))


def test_a_healthy_run_gets_no_sentence() -> None:
    assert found([HEALTHY] * 3) == {}
    assert found([HEALTHY._replace(exchange=0.0)]) == {}


@pytest.mark.parametrize(
    ("spare_mb", "decodes_jpeg", "remedy"),
    [
        (9000, False, "--resident_mb 5000"),
        (9000, True, "--resident_mb 5000"),
        (4000, False, "a faster disk, or choose a smaller --image_size"),
        (4000, True, "more cores, store the pixels (--store raw), or choose a smaller --image_size"),
    ],
)
def test_input(spare_mb: int, decodes_jpeg: bool, remedy: str) -> None:
    slow = steady(1.0, 0.41, loss=0.2, computing=0.5, exchange=0.01)
    waiting = steady(1.0, 0.001, loss=0.2, computing=0.5, exchange=0.42)
    run = RUN._replace(streamed_mb=5000, decodes_jpeg=decodes_jpeg, spare_mb=spare_mb)
    named = found([waiting, waiting, slow], run)
    assert named.keys() == {"input"}
    assert "input is the limit: a step of rank 2 (on node-c) waits 410 of 1,000 ms (41 %)" in named["input"]
    assert remedy in named["input"]


def test_a_slow_rank() -> None:
    slow = steady(1.4, 0.0, loss=0.42, computing=1.3, exchange=0.02)
    waiting = steady(1.4, 0.0, loss=0.3, computing=0.9, exchange=0.42)
    named = found([waiting, slow, waiting])
    assert named.keys() == {"slow rank"}
    assert (
        "rank 1 (on node-b) is slow: it computes a batch's loss in 0.42 s, the others in 0.3 s." in named["slow rank"]
    )


@pytest.mark.parametrize(("loss", "is_named"), [(0.003, True), (0.0015, False)])
def test_a_rank_that_is_interrupted_in_some_steps(loss: float, is_named: bool) -> None:
    others = steady(0.006, 0.0, loss=0.001, computing=0.0045, exchange=0.0005)
    named = found([others, others._replace(loss=loss), others])
    assert named.keys() == ({"slow rank"} if is_named else set())
    assert not is_named or "rank 1 (on node-b) is slow: it computes a batch's loss in 0.003 s" in named["slow rank"]


def test_the_exchange() -> None:
    step = steady(1.0, 0.0, loss=0.2, computing=0.55, exchange=0.4)
    named = found([step] * 3, RUN._replace(can_factor=True))
    assert named.keys() == {"exchange"}
    assert "a step waits 400 of 1,000 ms (40 %) for it, in which each worker sends 200 MB" in named["exchange"]
    for remedy in ("--global_batch_size", "--exchange auto", "--compression float16", "jobs/doctor.py"):
        assert remedy in named["exchange"]
    alone = found([step] * 3, RUN._replace(hosts=["a"] * 3, can_compress=False))["exchange"]
    assert not any(remedy in alone for remedy in ("--exchange auto", "--compression", "jobs/doctor.py"))


def test_a_link_is_not_blamed_for_ranks_that_are_interrupted_in_turn() -> None:
    step = steady(0.02, 0.0, loss=0.004, computing=0.008, exchange=0.01)
    assert found([step._replace(exchange=0.012, usual_exchange=0.002)] * 3).keys() == {"batch"}
    assert found([step._replace(usual_exchange=0.3, total=0.6)] * 3).keys() == {"exchange"}


def test_a_small_batch_is_not_blamed_on_the_link() -> None:
    step = steady(0.003, 0.0, loss=0.0003, computing=0.001, exchange=0.001)
    named = found([step] * 2, RUN._replace(samples=4, sent_bytes=100_000))
    assert named.keys() == {"batch"}
    assert "only 1 of 3 ms (33 %) on computing its 4 samples per worker" in named["batch"]
    link = steady(0.03, 0.0, loss=0.0003, computing=0.001, exchange=0.028)
    assert found([link] * 2, RUN._replace(samples=4, sent_bytes=100_000)).keys() == {"exchange"}


ALEXNET = RUN._replace(weights=58_000_000, multiply_adds=720_000_000)


@pytest.mark.parametrize(("samples", "is_named"), [(1, True), (3, False), (32, False)])
def test_a_batch_too_small_for_the_many_weights(samples: int, is_named: bool) -> None:
    named = found([HEALTHY] * 2, ALEXNET._replace(samples=samples))
    assert named.keys() == ({"batch"} if is_named else set())
    assert not is_named or (
        "for 1 sample per worker, a step reads and writes each of the 58 million weights" in named["batch"]
    )


def test_a_batch_too_small_for_the_weights_is_named_beside_their_exchange() -> None:
    slow = steady(1.0, 0.0, loss=0.2, computing=0.6, exchange=0.4)
    assert list(found([slow] * 2, ALEXNET._replace(samples=1))) == ["exchange", "batch"]


def test_times_that_were_not_measured_are_no_cause() -> None:
    assert found([steady(1.0, 0.0, loss=0.0, computing=0.0, exchange=0.0)]) == {}
