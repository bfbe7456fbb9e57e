"""Which steps become points of a training curve, whatever interrupts the run."""

from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnn.learner.totals import Total, Totals
from cnn.measuring.replay import first_difference, is_from_earlier_end
from cnn.monitoring.records.metrics import read_metrics
from cnn.monitoring.serving.served_numbers import ServedNumbers
from cnn.monitoring.timing.bottlenecks import Bottleneck, StepTimes
from cnn.monitoring.timing.goodput import StartTimes, goodput
from cnn.runs.curve import TrainingCurve
from cnn.runs.report import Report

STEPS_PER_EPOCH, LOG_EVERY = 7, 3


def train(folder: Path, first: int, last: int, total: int, pending: Totals, at_once: int = 1) -> Totals:
    """Tells a report of the steps from `first` to `last` of a run that is to end at `total`; step n's loss is n. Gives
    what is pending then."""
    report = Report(
        folder,
        total_steps=total,
        start_step=first,
        steps_per_epoch=STEPS_PER_EPOCH,
        resumed=first > 0,
    )
    curve = TrainingCurve(LOG_EVERY, STEPS_PER_EPOCH, total)
    for begin in range(first, last, at_once):
        losses = np.arange(begin, min(begin + at_once, last), dtype=float)[:, np.newaxis]
        samples = np.full(losses.shape, 10)
        totals = {"loss": Total(losses * samples, samples), "accuracy": Total(np.zeros_like(samples), samples)}
        done, pending = curve.points(pending, begin, totals)
        for point in done:
            report.point(point, 0.1, None)
        report.steps(begin + len(losses), totals, None)
    report.close()
    return pending


def points(folder: Path) -> list[tuple[int, float]]:
    return [(point["step"], point["loss"]) for point in read_metrics(folder / "metrics.jsonl")]


@pytest.mark.parametrize(
    ("total", "expected"),
    [(1, [(1, 0)]), (2, [(2, 0.5)]), (3, [(3, 1)]), (5, [(3, 1), (5, 3.5)]), (8, [(3, 1), (7, 4.5), (8, 7)])],
)
@pytest.mark.parametrize("at_once", [1, 4])
def test_what_is_left_at_the_end_is_a_point(
    tmp_path: Path, total: int, expected: list[tuple[int, float]], at_once: int
) -> None:
    train(tmp_path, 0, total, total, {}, at_once)
    assert points(tmp_path) == expected


@pytest.mark.parametrize("stop", range(1, 11))
def test_a_run_that_was_stopped_has_the_same_points_once(tmp_path: Path, stop: int) -> None:
    train(tmp_path / "straight", 0, 11, 11, {})
    pending = train(tmp_path / "stopped", 0, stop, 11, {})
    pending = train(tmp_path / "stopped", stop, 11, 11, pending)
    train(tmp_path / "stopped", 11, 11, 11, pending)  # which had ended
    assert points(tmp_path / "stopped") == points(tmp_path / "straight")


@pytest.mark.parametrize("end", range(1, 13))
def test_a_run_that_was_given_more_steps_has_those_points_besides_its_end_s(tmp_path: Path, end: int) -> None:
    train(tmp_path / "straight", 0, 13, 13, {})
    pending = train(tmp_path / "longer", 0, end, end, {})
    train(tmp_path / "longer", end, 13, 13, pending)
    straight, longer = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("straight", "longer"))
    assert set(points(tmp_path / "straight")) <= set(points(tmp_path / "longer"))
    compared = [point for point in longer if not is_from_earlier_end(point, 13, LOG_EVERY)]
    assert len(compared) == len(straight)
    assert first_difference(compared, straight) == ""


def test_where_the_time_goes_is_printed_and_in_tensorboard_and_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served = ServedNumbers({"cnn": "0.1.0"}, {"model": "lenet5"}, workers=1)
    report = Report(tmp_path, total_steps=9, start_step=0, steps_per_epoch=3, resumed=False, receivers=[served])
    step = StepTimes(0.5, 0.2, loss=0.1, computing=0.25, exchange=0.0, usual_loss=0.1, usual_exchange=0.0)
    start = StartTimes(begin=0.0, world_size=1, first_step=0, step=3, seconds={"start": 6.0, "training": 4.0})
    report.times(3, step, goodput([start]))
    report.limit(3, Bottleneck("input", "input is the limit: choose a faster disk."))
    report.close()
    assert "input is the limit: choose a faster disk.\n" in capsys.readouterr().out
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in served.registry.collect()
        for sample in family.samples
    }
    assert samples["cnn_limited", "input"] == 1
    assert samples["cnn_goodput_ratio",] == 0.4
    assert samples["cnn_run_seconds", "start"] == 6
    parts = {part: samples["cnn_step_part_seconds", part] for part in ("input", "computing", "rest")}
    assert parts == pytest.approx({"input": 0.2, "computing": 0.25, "rest": 0.05})
    events = EventAccumulator(str(tmp_path), {"tensors": 0, "scalars": 0}).Reload()
    (text,) = events.Tensors("limits of the speed/input")
    assert (text.step, text.tensor_proto.string_val) == (3, [b"input is the limit: choose a faster disk."])
    scalars = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    assert scalars["time of a step/input (ms)"] == 200
    assert scalars["time of the run/start (s)"] == 6
    assert scalars["time of the run/goodput"] == pytest.approx(0.4)
