"""Repetition of a run from its folder, and comparison of the curves."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn.errors import UserError
from cnn.foreign_folder import read_file
from cnn.from_json import MAX_JSON_BYTES
from cnn.launching.own_job import run_with_workers
from cnn.learner.metric_table import METRICS
from cnn.monitoring.records.metrics import read_metrics
from cnn.runs.curve import completes_point
from cnn.runs.data_record import DATA
from cnn.runs.run_folder import ENVIRONMENT, SETTINGS, holds_run, recorded_topology
from cnn.settings.settings import read_settings


def replay(run: Path, launcher: str) -> tuple[int, str]:
    """Trains again with the settings and the number of workers of the run's last start.

    Returns:
        The number of compared points of the curves, and a description of the first difference, empty if there is none.

    Raises:
        UserError: the folder holds no run, or the run has no curve yet.
        RunError: training failed.
    """
    if not holds_run(run):
        raise UserError(f"--replay {run} holds no run: name a folder written by jobs/train.py.")
    environment, metrics = run / ENVIRONMENT, run / "metrics.jsonl"
    recorded = read_metrics(metrics) if metrics.is_file() else []
    if not (recorded and environment.is_file()):
        raise UserError(f"--replay {run} has no curve to compare: train the run for longer first.")
    workers = recorded_topology(run).get("world_size")
    if type(workers) is not int or workers < 1:
        raise UserError(f"{environment} does not contain the number of workers: restore what the run wrote there.")
    program = str(Path(__file__).parents[2] / "jobs" / "train.py")
    with tempfile.TemporaryDirectory() as scratch:
        again = Path(scratch, "run")
        again.mkdir()
        # Copied so that it looks like a run without a checkpoint, which keeps its choice of the exchange on --resume.
        for name in (SETTINGS, ENVIRONMENT, DATA):
            if (run / name).is_file():
                (again / name).write_bytes(read_file(run / name, MAX_JSON_BYTES))
        arguments = [
            f"--config={run / SETTINGS}",
            f"--run_dir={again}",
            "--resume",
            "--stop_after=null",
            "--metrics_port=null",
        ]
        run_with_workers(launcher, workers, [program, *arguments])
        repeated = read_metrics(again / "metrics.jsonl")
        log_every = read_settings(run / SETTINGS)["log_every"]
        compared = [point for point in recorded if not is_from_earlier_end(point, repeated[-1]["step"], log_every)]
        comparable = comparable_points(compared, repeated)
        return len(comparable), first_difference(comparable, repeated)


def is_from_earlier_end(point: Mapping[str, Any], last_step: int, log_every: int) -> bool:
    """Whether a point was recorded only because the run ended at its step, before it was extended by more steps."""
    if point["step"] >= last_step:
        return False
    if point["part"] == "test" or not point["epoch"] % 1:
        return bool(point["part"] == "test")
    steps_per_epoch = round(point["step"] / point["epoch"])
    return bool(point["part"] == "validation" or not completes_point(point["step"], log_every, steps_per_epoch))


def comparable_points(
    recorded: Sequence[Mapping[str, Any]], repeated: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Removes training points that are means over other steps than the repetition's points.

    They exist if --log_every was changed when the run was resumed.
    """
    known = {steps for steps, _ in _with_steps(repeated)}
    return [point for steps, point in _with_steps(recorded) if point["part"] != "train" or steps in known]


def _with_steps(points: Sequence[Mapping[str, Any]]) -> Iterator[tuple[tuple[int, int], Mapping[str, Any]]]:
    """Yields each point with the numbers of steps done at the start and at the end of its interval."""
    begin = 0
    for point in points:
        if point["part"] == "train":
            yield (begin, point["step"]), point
            begin = point["step"]
        else:
            yield (point["step"], point["step"]), point


def first_difference(recorded: Sequence[Mapping[str, Any]], repeated: Sequence[Mapping[str, Any]]) -> str:
    """Describes the first point of a run that differs in its repetition; empty if there is none.

    The repetition may have more points.
    """
    by_key = {(point["part"], point["step"]): point for point in repeated}
    for point in recorded:
        part, step = point["part"], point["step"]
        other = by_key.get((part, step))
        if other is None:
            return f"at step {step:,} the repetition has no {part} point"
        for name in (each for each in (*METRICS, "learning_rate") if each in point):
            if point.get(name) != other.get(name):
                return f"at step {step:,} the {part} {name} was {point.get(name)} and is {other.get(name)} now"
    return ""
