"""Proves that N workers compute the same as one: the same samples, dropout and training.

  python jobs/prove.py --models fcnn lenet5 lenet5-like --workers 1 2 3
  python jobs/prove.py --bits --models fcnn lenet5-like --workers 1 2 3
  python jobs/prove.py --replay runs/a

Starts one job for each number of workers, compares their weights and gradients, prints a table, and exits with 0 if
they agree, otherwise 1. With --bits it trains with --reproducible, and the weights must have the same bits. With
--replay it trains a run again from its folder, which must reproduce the curves bit for bit.
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cnn.cluster.ranks.job import Job
from cnn.cluster.ranks.run_job import run_job
from cnn.errors import report_errors
from cnn.launching.own_job import is_relaunched, relaunch
from cnn.measuring.agreement import compare, table
from cnn.measuring.proof import Settings, first_gradients, measure
from cnn.measuring.replay import replay
from cnn.measuring.rounding import rounding, rounding_table
from cnn.measuring.same_bits import measure_bits, on_one_core, read_bits, same_bits_table
from cnn.settings.settings import parse_settings
from cnn.shown_text import on_one_line

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster


def parse() -> Settings:
    return parse_settings(str(__doc__), Settings)


def body(cluster: "Cluster", settings: Settings, job: Job) -> None:
    if settings.proof.output is not None:
        folder = Path(settings.proof.output)
        (measure_bits if settings.proof.bits else measure)(cluster, settings, folder)


def compare_bits(settings: Settings) -> bool:
    """Prints a table of the weights' checksums; returns whether those of each network agree."""
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with on_one_core():
            relaunch(settings.proof.launcher, 1, folder)
        found += read_bits(folder)
        for workers in sorted({1, *settings.proof.workers}):
            relaunch(settings.proof.launcher, workers, folder)
            found += read_bits(folder)
    table, agree = same_bits_table(found)
    print(table)
    return agree


def main() -> None:
    import numpy as np  # after cnn, which reports a Python that lacks it

    settings = parse()
    if settings.proof.replay is not None:
        run = Path(settings.proof.replay)
        points, difference = replay(run, settings.proof.launcher)
        print(f"{on_one_line(str(run))}: {difference or f'all {points:,} points of its curves are reproduced exactly'}")
        sys.exit(1 if difference else 0)
    if settings.proof.bits:
        sys.exit(0 if compare_bits(settings) else 1)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {workers: Path(scratch, str(workers)) for workers in sorted({1, *settings.proof.workers})}
        for workers, folder in folders.items():
            folder.mkdir()
            relaunch(settings.proof.launcher, workers, folder)
        measured = {  # read from the files when they are needed, as they may be large
            (model, workers): np.load(folder / f"{model}.npz")
            for model in settings.proof.models
            for workers, folder in folders.items()
        }
        rows = [compare(model, workers, arrays, measured[model, 1]) for (model, workers), arrays in measured.items()]
        roundings = [
            rounding(
                model, each, first_gradients(measured[model, 1], each), first_gradients(measured[model, 1], "float64")
            )
            for model in settings.proof.models
            for each in settings.proof.compared_precisions
        ]
    print(table(rows))
    if roundings:
        print(f"\n{rounding_table(roundings)}")
    sys.exit(0 if all(row.holds for row in (*rows, *roundings)) else 1)


if __name__ == "__main__":
    if is_relaunched():
        run_job(parse, body, lambda settings: settings.proof.bits)
    with report_errors(starts_ranks=True):
        main()
