"""Measures the speed of training and of a step's parts.

python jobs/benchmark.py --model alexnet --data synthetic --image_size 224 --workers 1 2 --report alexnet
mpirun -np 8 -H a:4,b:4 python jobs/benchmark.py --model vgg16 --data oxflower17 --data_dir DIR --output vgg16.json

python jobs/benchmark.py --model alexnet --data synthetic --image_size 224 --predict 8 64 512 --link 25gbit
python jobs/benchmark.py --model lenet5-like --data synthetic --control_path 0.1 --workers 2 4 8

Without --output it starts one job for each number of workers and prints a table. With --output it must be started by a
launcher, measures with its workers, and writes the result to that file.
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cnn.cluster.ranks.job import Job
from cnn.cluster.ranks.run_job import run_job
from cnn.errors import report_errors
from cnn.launching.own_job import is_relaunched, relaunch
from cnn.measuring.benchmark import measure, predicted
from cnn.measuring.benchmark_settings import Settings
from cnn.measuring.control_path import ControlPath, measure_control_path
from cnn.measuring.measured import Measured, check_output
from cnn.monitoring.figures.step_figure import write_report
from cnn.monitoring.timing.control_path_table import control_path_table
from cnn.monitoring.timing.step_table import prediction_table, step_table
from cnn.settings.settings import parse_settings

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster


def parse() -> Settings:
    return parse_settings(str(__doc__), Settings)


def body(cluster: "Cluster", settings: Settings, job: Job) -> None:
    output = settings.benchmark.output
    if output is not None:
        cluster.on_chief(lambda: check_output(Path(output)))
    measured: Measured | ControlPath
    if settings.control_path.control_path is None:
        measured = measure(cluster, settings)
    else:
        measured = measure_control_path(cluster, settings, job)
    if cluster.is_chief and output is not None:
        Path(output).write_text(measured.to_json())


def main() -> None:
    settings = parse()
    texts = []
    with tempfile.TemporaryDirectory() as scratch:
        for workers in sorted(settings.benchmark.workers):  # efficiency is relative to the smallest number
            file = Path(scratch, f"{workers}.json")
            relaunch(settings.benchmark.launcher, workers, file)
            texts.append(file.read_text())
    if settings.control_path.control_path is not None:
        print("\n\n".join(control_path_table(dataclasses.asdict(ControlPath.from_json(text))) for text in texts))
        return
    found = [Measured.from_json(text) for text in texts]
    rows = [dataclasses.asdict(each) for each in found]
    print(step_table(rows))
    if settings.benchmark.report is not None:
        write_report(Path(settings.benchmark.report), settings.model.model, rows)
    if settings.benchmark.predict:
        predictions = [predicted(settings.benchmark, found, exchange) for exchange in ("auto", "allreduce")]
        print(f"\npredicted, each worker with a link of {settings.benchmark.link}:")
        print(prediction_table(found[0].images_per_second / found[0].workers, found[0].step_seconds, *predictions))


if __name__ == "__main__":
    if is_relaunched():
        run_job(parse, body, lambda settings: settings.step.reproducible)
    with report_errors(starts_ranks=True):
        main()
