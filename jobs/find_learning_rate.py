"""Finds a learning rate for a run by a range test, which trains some steps with rising rates and keeps nothing.

python jobs/find_learning_rate.py --model lenet5 --data digits
mpirun -np 2 python jobs/find_learning_rate.py --config jobs/recipes/flowers-alexnet.yaml --figure rates.png

It takes all settings of jobs/train.py, and finds the same with any number of workers.
"""

import cnn  # noqa: F401  # first, so that Ctrl-C during later imports prints no traceback

# isort: split
from typing import TYPE_CHECKING

from cnn.cluster.ranks.job import Job
from cnn.cluster.ranks.run_job import run_job
from cnn.measuring.rate_finder import Settings, find_learning_rate
from cnn.settings.settings import parse_settings

if TYPE_CHECKING:
    from cnn.cluster.ranks.collectives import Cluster


def parse() -> Settings:
    return parse_settings(str(__doc__), Settings)


def body(cluster: "Cluster", settings: Settings, job: Job) -> None:
    find_learning_rate(cluster, settings)


if __name__ == "__main__":
    run_job(parse, body)
