"""The breakdown of a step's time as text."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

PARTS = ("input", "compute", "update", "exchange")


class PredictedStep(Protocol):
    """The fields needed here of cnn.measuring.step_prediction.Predicted."""

    workers: int
    step_seconds: float
    sent_bytes: int


def prediction_table(
    images_per_second: float, seconds: float, chosen: Sequence[PredictedStep], summed: Sequence[PredictedStep]
) -> str:
    """Formats predictions with the exchange chosen per layer next to those with an allreduce of all gradients.

    Args:
        images_per_second: measured speed of one worker.
        seconds: measured time of its step.
        chosen: a predicted step for each number of workers.
        summed: the same with an allreduce of all gradients.
    """
    lines = [f"{'workers':>7} {'img/s':>12} {'efficiency':>10} {'step ms':>9} {'MB sent':>8}   {'allreduce only':>27}"]
    for chosen_step, summed_step in zip(chosen, summed, strict=True):
        columns = [
            f"{images_per_second * step.workers * seconds / step.step_seconds:>12,.0f} "
            f"{100 * seconds / step.step_seconds:>9.1f}% {1e3 * step.step_seconds:9.1f} {step.sent_bytes / 1e6:8.1f}"
            for step in (chosen_step, summed_step)
        ]
        lines.append(f"{chosen_step.workers:>7} {columns[0]}   {columns[1]}")
    return "\n".join(lines)


def step_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Formats a row for each number of workers: speed, and the parts of a step in milliseconds.

    Args:
        rows: fields of cnn.measuring.measured.Measured. Efficiency is the speed per worker relative to the first row's.
    """
    lines = [
        f"{'workers':>7} {'batch':>6} {'img/s':>10} {'spread':>7} {'efficiency':>10} {'step ms':>9} "
        + " ".join(f"{part:>9}" for part in PARTS)
        + f" {'MB sent':>8} {'peak MB':>8} {'of peak':>8}"
    ]
    for row in rows:
        efficiency = (row["images_per_second"] / row["workers"]) / (rows[0]["images_per_second"] / rows[0]["workers"])
        parts = " ".join(f"{1e3 * row[f'{part}_seconds']:9.2f}" for part in PARTS)
        lines.append(
            f"{row['workers']:>7} {row['global_batch_size']:>6} {row['images_per_second']:>10,.1f} "
            f"{100 * row['spread']:>6.1f}% {100 * efficiency:>9.1f}% {1e3 * row['step_seconds']:9.2f} {parts} "
            f"{row['sent_bytes'] / 1e6:8.1f} {row['peak_bytes'] / 1e6:8,.0f} {100 * row['share_of_peak']:7.1f}%"
        )
    return "\n".join(lines)
