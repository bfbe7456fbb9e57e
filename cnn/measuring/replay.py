"""Repeats a run from its folder, and compares the curves."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn.errors import UserError
from cnn.foreign_folder import read_file
from cnn.from_json import LARGEST
from cnn.launching.own_job import run_with_workers
from cnn.learner.metric_table import METRICS
from cnn.monitoring.metrics import read_metrics
from cnn.runs.data_record import DATA
from cnn.runs.run_folder import ENVIRONMENT, SETTINGS, holds_run, recorded_topology
from cnn.settings.settings import read_settings


def replay(run: Path, launcher: str) -> tuple[int, str]:
    """Trains again with the settings and as many workers as the run had when it was last started.

    Returns:
        How many points of the curves there are to compare, and what differs first; empty when nothing does.

    Raises:
        UserError: the folder holds no run, or it has no curve yet.
        RunError: training failed.
    """
    if not holds_run(run):
        raise UserError(f"--replay {run} holds no run: name a folder that jobs/train.py has written.")
    environment, metrics = run / ENVIRONMENT, run / "metrics.jsonl"
    recorded = read_metrics(metrics) if metrics.is_file() else []
    if not (recorded and environment.is_file()):
        raise UserError(f"--replay {run} has no curve to compare: let the run train for a while.")
    workers = recorded_topology(run).get("world_size")
    if type(workers) is not int or workers < 1:
        raise UserError(f"{environment} does not say how many workers the run had: put back what it wrote there.")
    program = str(Path(__file__).parents[2] / "jobs" / "train.py")
    with tempfile.TemporaryDirectory() as scratch:
        again = Path(scratch, "run")
        again.mkdir()
        # As a run that has not come to a first checkpoint, which keeps its choice of the exchange.
        for each in (SETTINGS, ENVIRONMENT, DATA):
            if (run / each).is_file():
                (again / each).write_bytes(read_file(run / each, LARGEST))
        own = [f"--config={run / SETTINGS}", f"--run_dir={again}", "--resume"]
        run_with_workers(launcher, workers, [program, *own])
        repeated = read_metrics(again / "metrics.jsonl")
        log_every = read_settings(run / SETTINGS)["log_every"]
        compared = [point for point in recorded if not of_an_earlier_end(point, repeated[-1]["step"], log_every)]
        comparable = of_the_same_steps(compared, repeated)
        return len(comparable), first_difference(comparable, repeated)


def of_an_earlier_end(point: Mapping[str, Any], last_step: int, log_every: int) -> bool:
    """Whether a point is there only since the run was to end at its step, before it was given more steps."""
    if point["step"] >= last_step:
        return False
    in_an_interval = point["part"] == "train" and point["step"] % log_every
    return bool(point["part"] == "test" or (point["epoch"] % 1 and (in_an_interval or point["part"] == "validation")))


def of_the_same_steps(
    recorded: Sequence[Mapping[str, Any]], again: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """A run's points without those of the training curve that its repetition has no mean of the same steps for.

    There are such where --log_every was changed when the run was resumed.
    """
    known = {steps for steps, _ in _with_steps(again)}
    return [point for steps, point in _with_steps(recorded) if point["part"] != "train" or steps in known]


def _with_steps(points: Sequence[Mapping[str, Any]]) -> Iterator[tuple[tuple[int, int], Mapping[str, Any]]]:
    """Each point with the steps after which that which it tells of begins and ends."""
    begin = 0
    for point in points:
        if point["part"] == "train":
            yield (begin, point["step"]), point
            begin = point["step"]
        else:
            yield (point["step"], point["step"]), point


def first_difference(recorded: Sequence[Mapping[str, Any]], again: Sequence[Mapping[str, Any]]) -> str:
    """Says which point of a run is the first that its repetition has otherwise; empty when there is none.

    The repetition may go further.
    """
    others = {(point["part"], point["step"]): point for point in again}
    for point in recorded:
        part, step = point["part"], point["step"]
        other = others.get((part, step))
        if other is None:
            return f"at step {step:,} the repetition has no {part} point"
        for name in (each for each in (*METRICS, "learning_rate") if each in point):
            if point.get(name) != other.get(name):
                return f"at step {step:,} the {part} {name} was {point.get(name)} and is {other.get(name)} now"
    return ""
