"""Trains a network on images, with as many workers as the launcher starts.

python jobs/train.py --model lenet5-like --data digits
horovodrun -np 2 python jobs/train.py --model lenet5 --data fashion-mnist --epochs 5 --run_dir runs/a
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
from typing import TYPE_CHECKING

from cnn.cluster.job import Job, run_job
from cnn.output import warn_of_lost_output
from cnn.settings.settings import TrainingSettings, parse_settings

if TYPE_CHECKING:
    from cnn.cluster.collectives import Cluster


def parse() -> TrainingSettings:
    return parse_settings(str(__doc__), TrainingSettings)


def body(cluster: "Cluster", settings: TrainingSettings, job: Job) -> None:
    from cnn.runs.train import train  # imports TensorFlow: seconds that --help should not take

    warn_of_lost_output(job.note)
    train(cluster, settings, job)


if __name__ == "__main__":
    run_job(parse, body)
